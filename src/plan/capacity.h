// How an expert's capacity is chosen, first part: the multiplier sweep (planning.md section 3).
//
// For a multiplier lambda the layer's problem falls apart into one scan per expert,
//   min over c of  lambda * n(c) + (1 - lambda) * E[cpu(max(0, x - c))],
// a newsvendor problem: a row of capacity costs always, a row of overflow only when it comes.
// Each lambda gives a candidate per program count; the scores are the true ones (LayerScore).
// The second part, local_search.h, closes the gap that weight floors and c = 0 leave.
#pragma once

#include <span>
#include <vector>

#include "plan/layer_score.h"

namespace npumoe {

// [p] = best candidate with at most p programs, p = 0 .. max_programs.
std::vector<LayerSolution> SweepMultiplier(const LayerProblem& problem, const ScoreWeights& weights,
                                           int max_programs, std::span<const double> multipliers);

// All different candidates with at most `max_programs`, the best first; among them the layer as
// CPU work.
std::vector<LayerSolution> SweepCandidates(const LayerProblem& problem, const ScoreWeights& weights,
                                           int max_programs, std::span<const double> multipliers);

// Multipliers of the planner's sweep, ascending in (0, 1).
std::span<const double> PlannerMultipliers();
// A few of them, for searches that sweep many times.
std::span<const double> CoarseMultipliers();

}  // namespace npumoe
