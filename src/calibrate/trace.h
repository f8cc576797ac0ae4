// RoutingTrace: which experts each token chose, layer by layer, with the router weights. Recorded
// by a run (runtime/observer.h), replayed by the planner's simulator. Holds no text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace npumoe {

inline constexpr int kMaxTraceExperts = 65536;  // chosen: far above any model, bounds allocations

struct LayerRouting {
  int layer = 0;               // index in the model
  std::vector<int32_t> ids;    // [tokens, k]
  std::vector<float> weights;  // [tokens, k]; may be empty where a source has none
};

struct RoutingTrace {
  int num_experts = 0;
  int experts_per_token = 0;
  std::vector<LayerRouting> layers;      // MoE layers, ascending
  std::vector<int64_t> sequence_starts;  // token indices; the first is 0

  int64_t tokens() const;
  // [begin, end) of sequence i.
  std::pair<int64_t, int64_t> Sequence(size_t i) const;
};

// Checks ids against num_experts, distinct experts per token, equal token counts per layer,
// ascending layers and borders.
Status ValidateTrace(const RoutingTrace& trace);
// The same for the `ids` of one token; `token` and `layer` are for the message.
Status ValidateTokenExperts(std::span<const int32_t> ids, int num_experts, int64_t token,
                            int layer);

}  // namespace npumoe
