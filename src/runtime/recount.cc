#include "runtime/recount.h"

namespace npumoe {

Result<DispatchCounts> RecountDispatch(const Plan& plan, OverflowMode overflow,
                                       const RoutingTrace& trace, size_t sequence,
                                       std::span<const ChunkSpan> chunks) {
  NPUMOE_ASSIGN_OR_RETURN(const auto loads, CountLoads(plan, trace, sequence, chunks));
  const auto experts = static_cast<size_t>(plan.expert_count());
  DispatchCounts total;
  for (size_t c = 0; c < chunks.size(); ++c) {
    for (size_t l = 0; l < plan.layers.size(); ++l) {
      const bool on_npu = chunks[c].place == ChunkPlace::kNpu;
      total += CountDispatch(on_npu ? plan.layers[l] : LayerPlan{},
                             std::span(loads[c]).subspan(l * experts, experts), overflow);
    }
  }
  return total;
}

}  // namespace npumoe
