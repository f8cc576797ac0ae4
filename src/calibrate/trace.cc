#include "calibrate/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace npumoe {
namespace {

Status CheckHeader(const RoutingTrace& trace) {
  if (trace.num_experts < 1 || trace.num_experts > kMaxTraceExperts) {
    return InvalidInput(fmt::format("routing trace: {} experts; allowed are 1 to {}",
                                    trace.num_experts, kMaxTraceExperts));
  }
  if (trace.experts_per_token < 1 || trace.experts_per_token > trace.num_experts) {
    return InvalidInput(fmt::format("routing trace: {} experts per token; allowed are 1 to {}",
                                    trace.experts_per_token, trace.num_experts));
  }
  if (trace.layers.empty()) return InvalidInput("routing trace: no layer");
  return OkStatus();
}

Status CheckBorders(const RoutingTrace& trace) {
  const std::vector<int64_t>& starts = trace.sequence_starts;
  const int64_t tokens = trace.tokens();
  if (tokens == 0) {
    return starts.empty() ? OkStatus()
                          : InvalidInput("routing trace: sequence borders but no token");
  }
  if (starts.empty() || starts.front() != 0) {
    return InvalidInput("routing trace: the first sequence does not start at token 0");
  }
  for (size_t i = 1; i < starts.size(); ++i) {
    if (starts[i] <= starts[i - 1]) {
      return InvalidInput(fmt::format("routing trace: sequence {} starts at token {}, not after {}",
                                      i, starts[i], starts[i - 1]));
    }
  }
  if (starts.back() >= tokens) {
    return InvalidInput(fmt::format("routing trace: the last sequence starts at token {} of {}",
                                    starts.back(), tokens));
  }
  return OkStatus();
}

Status CheckSizes(const RoutingTrace& trace, const LayerRouting& layer) {
  const size_t k = static_cast<size_t>(trace.experts_per_token);
  if (layer.ids.size() % k != 0 || layer.ids.size() != trace.layers.front().ids.size()) {
    return InvalidInput(fmt::format(
        "routing trace: layer {} has {} ids; layer {} has {}, and {} make a token", layer.layer,
        layer.ids.size(), trace.layers.front().layer, trace.layers.front().ids.size(), k));
  }
  if (!layer.weights.empty() && layer.weights.size() != layer.ids.size()) {
    return InvalidInput(fmt::format("routing trace: layer {} has {} weights for {} ids",
                                    layer.layer, layer.weights.size(), layer.ids.size()));
  }
  return OkStatus();
}

}  // namespace

Status ValidateTokenExperts(std::span<const int32_t> ids, int num_experts, int64_t token,
                            int layer) {
  for (size_t slot = 0; slot < ids.size(); ++slot) {
    if (ids[slot] < 0 || ids[slot] >= num_experts) {
      return InvalidInput(
          fmt::format("routing of layer {}, token {}: expert {}; allowed are 0 to {}", layer, token,
                      ids[slot], num_experts - 1));
    }
    if (std::find(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(slot), ids[slot]) !=
        ids.begin() + static_cast<ptrdiff_t>(slot)) {
      return InvalidInput(fmt::format("routing of layer {}, token {}: expert {} chosen twice",
                                      layer, token, ids[slot]));
    }
  }
  return OkStatus();
}

int64_t RoutingTrace::tokens() const {
  if (layers.empty() || experts_per_token < 1) return 0;
  return static_cast<int64_t>(layers.front().ids.size()) / experts_per_token;
}

std::pair<int64_t, int64_t> RoutingTrace::Sequence(size_t i) const {
  NPUMOE_CHECK(i < sequence_starts.size());
  const int64_t end = i + 1 < sequence_starts.size() ? sequence_starts[i + 1] : tokens();
  return {sequence_starts[i], end};
}

Status ValidateTrace(const RoutingTrace& trace) {
  NPUMOE_RETURN_IF_ERROR(CheckHeader(trace));
  int previous_layer = -1;
  const auto k = static_cast<size_t>(trace.experts_per_token);
  for (const LayerRouting& layer : trace.layers) {
    if (layer.layer <= previous_layer) {
      return InvalidInput(
          fmt::format("routing trace: layer {} after layer {}; layers must be ascending and >= 0",
                      layer.layer, previous_layer));
    }
    previous_layer = layer.layer;
    NPUMOE_RETURN_IF_ERROR(CheckSizes(trace, layer));
    for (int64_t token = 0; token < trace.tokens(); ++token) {
      NPUMOE_RETURN_IF_ERROR(
          ValidateTokenExperts(std::span(layer.ids).subspan(static_cast<size_t>(token) * k, k),
                               trace.num_experts, token, layer.layer));
    }
  }
  return CheckBorders(trace);
}

}  // namespace npumoe
