// Buckets: smaller capacities for programs that are already planned, as further functions of their
// packages (same weights), where the calibrated chunks say that launches get cheaper. A chunk
// whose loads fit a bucket launches it; the last, partial chunk of a prompt mostly does.
#pragma once

#include "plan/plan.h"
#include "plan/planning_problem.h"

namespace npumoe {

// Adds at most `most` - 1 smaller buckets to each program, those with the largest saving first,
// until the profile's limit of loaded programs is reached.
void AddBuckets(Plan& plan, const PlanningProblem& problem, int most);

}  // namespace npumoe
