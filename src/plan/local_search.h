// How an expert's capacity is chosen, second part: local moves on the true score of a layer. One
// quantum up or down, residency, and pairs of these; each move that lowers the score is made,
// until none does. Deterministic.
#pragma once

#include "plan/layer_score.h"

namespace npumoe {

inline constexpr int kHoldNone = -1;

// Never worse than `start`, which must fit into `max_programs`. The expert `hold` keeps its level.
LayerSolution ImproveLocally(const LayerProblem& problem, const ScoreWeights& weights,
                             const LayerSolution& start, int max_programs, int hold = kHoldNone);

}  // namespace npumoe
