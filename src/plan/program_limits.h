// Limits of a profile, in the planner's units: experts per program, programs of the process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "npu/profile.h"
#include "plan/cost_model.h"
#include "plan/plan.h"

namespace npumoe {

// Weights of one expert's three matrices in a weight file.
int64_t FfnWeightBytes(WeightFormat format, int64_t hidden, int64_t intermediate);

bool TakesForm(const ChipProfile& profile, GraphForm form);

// Routed experts of this model that fit into one program: bytes of the program and of its weight
// file, axes of form A (channels G * H and G * I). 0: not even one.
int ExpertsPerProgram(const CostModel& costs, GraphForm form);

// The form for programs whose experts share one capacity (tiers+groups, paper): A, else C.
std::optional<GraphForm> GroupForm(const CostModel& costs);
// The form for programs of one expert: C, else A.
std::optional<GraphForm> SingleForm(const CostModel& costs);

// The form for the shared expert's program, the same; none where no program can hold it.
std::optional<GraphForm> SharedForm(const CostModel& costs);

// The share of memory that the weights of programs may take, and the routed experts that fit it.
int64_t ProgramMemoryBytes(const ChipProfile& profile);
int64_t MaxResidentExperts(const CostModel& costs);

}  // namespace npumoe
