// The strategy `optimal` (planning.md sections 3 and 4): every expert its own capacity, all
// experts of a layer in as few programs as their bytes allow (form C), programs shared out over
// layers where they save most.
#pragma once

#include <vector>

#include "plan/strategies.h"

namespace npumoe {

// `starts`: layers of other strategies; wherever one is better in a layer and fits, the search
// goes on from there. With min_npu_share the cheapest plan found that reaches it; a note when no
// plan can.
StrategyPlan PlanOptimum(const PlanningProblem& problem,
                         const std::vector<std::vector<LayerPlan>>& starts);

}  // namespace npumoe
