// The strategies of the paper and its ablation (planning.md section 5): capacities by rule, one
// program per expert or groups of one tier, taken by popularity until a limit of the profile is
// reached. The optimum is in optimum.h.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.h"
#include "plan/planning_problem.h"

namespace npumoe {

struct StrategyPlan {
  std::vector<LayerPlan> layers;   // every MoE layer
  std::vector<std::string> notes;  // limits met
};

// Any strategy but kOptimal.
StrategyPlan PlanByRule(const PlanningProblem& problem, Strategy strategy);

}  // namespace npumoe
