// One layer solved: multiplier sweep, then local search from its best candidates.
#pragma once

#include "plan/layer_score.h"

namespace npumoe {

// The best solution found with at most `max_programs`. `starts` are further solutions to begin
// from (those of other strategies, each within `max_programs`); the result is never worse than
// any of them. The work is cut down for layers of many experts, where the sweep's relaxation is
// nearly tight.
LayerSolution SolveLayer(const LayerProblem& problem, const ScoreWeights& weights, int max_programs,
                         const std::vector<LayerSolution>& starts);

}  // namespace npumoe
