// RoutingTrace: which experts each token chose, layer by layer, with the router weights. Recorded
// by a run (runtime/observer.h), replayed by the planner's simulator. Holds no text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace npumoe {

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

// Checks ids against num_experts, equal token counts per layer, ascending borders.
Status ValidateTrace(const RoutingTrace& trace);

}  // namespace npumoe
