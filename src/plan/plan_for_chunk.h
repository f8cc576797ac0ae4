// One strategy at one chunk length: the step that MakePlan repeats over candidates and
// ExplainPlan shows as rows of its tables.
#pragma once

#include "base/status.h"
#include "plan/plan.h"
#include "plan/planner.h"
#include "plan/planning_problem.h"
#include "plan/predict.h"

namespace npumoe {

// With predicted values, without spreads and without the comparison to the CPU.
Plan PlanForChunk(const PlanInputs& inputs, const PlanningProblem& problem, Strategy strategy);

PromptLoads PromptLoadsOf(const PlanningProblem& problem);

// Whether `a` is to be preferred: the wanted share first, then the objective.
bool IsBetterPlan(const Plan& a, const Plan& b);

// Chunk lengths to look at: those of the options, without the ones that are longer than the
// prompt needs.
std::vector<int> ChunkCandidates(const PlanOptions& options);

}  // namespace npumoe
