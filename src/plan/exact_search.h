// ExactSearch: the optimum of a small layer by branch and bound. Judges the heuristics of
// capacity.h and local_search.h in tests; too slow to plan with.
#pragma once

#include "plan/layer_score.h"

namespace npumoe {

// All combinations of levels, pruned where even free completion cannot win. At most 8 experts.
LayerSolution ExactSearch(const LayerProblem& problem, const ScoreWeights& weights,
                          int max_programs);

}  // namespace npumoe
