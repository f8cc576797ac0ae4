#include "plan/layer_dispatch.h"

#include "base/check.h"

namespace npumoe {

LayerDispatch::LayerDispatch(const LayerPlan& layer, int num_experts)
    : program_of_(static_cast<size_t>(num_experts), -1),
      capacity_of_(static_cast<size_t>(num_experts), 0) {
  for (const PlannedProgram& program : layer.programs) {
    for (const PlannedExpert& expert : program.experts) {
      const auto index = static_cast<size_t>(expert.expert);
      NPUMOE_CHECK(expert.expert >= 0 && index < program_of_.size());
      program_of_[index] = static_cast<int>(capacity_rows_.size());
      capacity_of_[index] = expert.capacity;
    }
    capacity_rows_.push_back(program.CapacityRows());
  }
}

DispatchCounts CountDispatch(const LayerPlan& layer, std::span<const int32_t> loads,
                             OverflowMode overflow) {
  const LayerDispatch dispatch(layer, static_cast<int>(loads.size()));
  std::vector<int64_t> filled(dispatch.programs());
  return dispatch.Count(loads, ChunkPlace::kNpu, overflow, filled, [](size_t, int64_t) {});
}

}  // namespace npumoe
