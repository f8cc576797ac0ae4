// The shared expert in planning: every token chooses it, so it is dense work with the chunk's
// tokens as its load in every MoE layer. A layer has it on the CPU, or in a program of its own
// whose capacity is the chunk, exactly: neither padding (beyond the quantum) nor overflow.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "calibrate/calibration.h"
#include "plan/cost_model.h"
#include "plan/layer_score.h"
#include "plan/plan.h"

namespace npumoe {

struct SharedExpert {
  int expert = 0;                 // its number: the routed experts'
  std::optional<GraphForm> form;  // of its program; none: no program can hold it, or there is none
  int64_t capacity = 0;           // the chunk, whole quanta
  int64_t weight_bytes = 0;       // of its program
  FixedWork on_cpu;               // both empty where the model has none
  FixedWork on_npu;
  std::vector<bool> eligible;  // per MoE layer: fp16 holds its activations

  bool MayReside(size_t moe_layer) const { return form.has_value() && eligible[moe_layer]; }
  PlannedProgram Program() const { return {*form, {{expert, capacity}}}; }
};

// All layers eligible.
SharedExpert PlanSharedExpert(const CostModel& costs, int64_t chunk_tokens, size_t moe_layers);

// The loads with the shared expert's as the last of each row: `loads` as they are without one.
ChunkLoads WithSharedExpert(const ChunkLoads& loads, const MoeConfig& moe);

}  // namespace npumoe
