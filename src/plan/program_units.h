// Program units: the programs that a strategy would like to have, before limits decide which of
// them it gets.
#pragma once

#include <vector>

#include "plan/plan.h"
#include "plan/planning_problem.h"

namespace npumoe {

struct ProgramUnit {
  size_t layer = 0;  // index among the MoE layers
  PlannedProgram program;
  double popularity = 0;  // mean tokens per chunk that its experts are asked for
  double filled = 0;      // of these, rows within the capacities
  double gain_ms = 0;     // expected CPU time of its experts minus its launch
  int64_t weight_bytes = 0;
};

// Units of one layer, the most popular first.
using LayerUnits = std::vector<ProgramUnit>;

// `capacities` [experts]: 0 leaves an expert out.
LayerUnits OneExpertPerProgram(const PlanningProblem& problem, size_t layer,
                               const std::vector<int64_t>& capacities);
// Experts of equal capacity share a program, filled by popularity to the limits of the form.
LayerUnits GroupsOfEqualCapacity(const PlanningProblem& problem, size_t layer,
                                 const std::vector<int64_t>& capacities);

// Adds the layer's shared expert, where it may reside, in its place by popularity.
void AddSharedUnit(const PlanningProblem& problem, size_t layer, LayerUnits& units);

// Programs and bytes of weights that may still become resident.
struct ProgramBudget {
  int64_t programs = 0;
  int64_t weight_bytes = 0;

  bool Take(const ProgramUnit& unit);  // false: does not fit any more
};

// First unit of every layer, then the second of every layer, and so on. Units that do not fit are
// left out; the result says how many.
struct TakenUnits {
  std::vector<ProgramUnit> taken;
  int64_t left_out = 0;
};
TakenUnits TakeInTurns(const std::vector<LayerUnits>& layers, ProgramBudget& budget);

}  // namespace npumoe
