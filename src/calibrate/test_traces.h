// Traces for the tests of this room: random but repeatable.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "calibrate/trace.h"

namespace npumoe {

struct RandomTraceShape {
  int num_experts = 8;
  int experts_per_token = 2;
  std::vector<int> layers = {1, 3};
  std::vector<int64_t> sequence_tokens = {70, 32, 100};
  uint64_t seed = 1;
};

// Later experts are chosen less often, so that popularity has an order.
inline RoutingTrace MakeRandomTrace(const RandomTraceShape& shape) {
  std::mt19937_64 random(shape.seed);
  RoutingTrace trace;
  trace.num_experts = shape.num_experts;
  trace.experts_per_token = shape.experts_per_token;
  int64_t tokens = 0;
  for (int64_t length : shape.sequence_tokens) {
    trace.sequence_starts.push_back(tokens);
    tokens += length;
  }
  for (int layer : shape.layers) {
    LayerRouting routing;
    routing.layer = layer;
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<int32_t> left(static_cast<size_t>(shape.num_experts));
      std::iota(left.begin(), left.end(), 0);
      for (int slot = 0; slot < shape.experts_per_token; ++slot) {
        const size_t a = random() % left.size();
        const size_t pick = std::min<size_t>(a, random() % left.size());
        routing.ids.push_back(left[pick]);
        routing.weights.push_back(1.0f / static_cast<float>(1 + random() % 16));
        left.erase(left.begin() + static_cast<std::ptrdiff_t>(pick));
      }
    }
    trace.layers.push_back(std::move(routing));
  }
  return trace;
}

}  // namespace npumoe
