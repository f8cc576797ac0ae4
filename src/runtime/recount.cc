#include "runtime/recount.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "runtime/dispatch_counts.h"

namespace npumoe {
namespace {

Result<const LayerRouting*> RoutingOf(const RoutingTrace& trace, int layer) {
  for (const LayerRouting& routing : trace.layers) {
    if (routing.layer == layer) return &routing;
  }
  return NotFound(fmt::format("the trace has no layer {}, which the plan has", layer));
}

Status CheckTrace(const Plan& plan, const RoutingTrace& trace, size_t sequence,
                  std::span<const ChunkSpan> chunks) {
  NPUMOE_RETURN_IF_ERROR(ValidateTrace(trace));
  if (trace.num_experts != plan.num_experts || trace.experts_per_token != plan.experts_per_token) {
    return InvalidInput(fmt::format("the trace is of {} experts, {} per token; the plan of {}, {}",
                                    trace.num_experts, trace.experts_per_token, plan.num_experts,
                                    plan.experts_per_token));
  }
  if (sequence >= trace.sequence_starts.size()) {
    return NotFound(fmt::format("the trace has {} sequences, number {} was asked for",
                                trace.sequence_starts.size(), sequence));
  }
  const auto [begin, end] = trace.Sequence(sequence);
  for (const ChunkSpan& chunk : chunks) {
    if (chunk.begin < 0 || chunk.begin > chunk.end || chunk.end > end - begin) {
      return InvalidInput(fmt::format("a chunk of tokens {} to {}; the sequence has {}",
                                      chunk.begin, chunk.end, end - begin));
    }
  }
  return OkStatus();
}

// Tokens per expert of trace tokens [begin, end).
void CountLoads(const LayerRouting& routing, int k, int64_t begin, int64_t end,
                std::vector<int32_t>& loads) {
  std::fill(loads.begin(), loads.end(), 0);
  for (int64_t i = begin * k; i < end * k; ++i) {
    ++loads[static_cast<size_t>(routing.ids[static_cast<size_t>(i)])];
  }
}

}  // namespace

Result<DispatchCounts> RecountDispatch(const Plan& plan, OverflowMode overflow,
                                       const RoutingTrace& trace, size_t sequence,
                                       std::span<const ChunkSpan> chunks) {
  NPUMOE_RETURN_IF_ERROR(CheckTrace(plan, trace, sequence, chunks));
  const int64_t start = trace.Sequence(sequence).first;
  DispatchCounts total;
  std::vector<int32_t> loads(static_cast<size_t>(plan.num_experts));
  for (const LayerPlan& layer : plan.layers) {
    NPUMOE_ASSIGN_OR_RETURN(const LayerRouting* routing, RoutingOf(trace, layer.layer));
    const LayerPlan on_cpu{layer.layer, {}};
    for (const ChunkSpan& chunk : chunks) {
      CountLoads(*routing, trace.experts_per_token, start + chunk.begin, start + chunk.end, loads);
      Accumulate(CountDispatch(chunk.place == ChunkPlace::kNpu ? layer : on_cpu, loads, overflow),
                 total);
    }
  }
  return total;
}

}  // namespace npumoe
