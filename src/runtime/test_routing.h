// For tests only: where two runs route a token differently.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>

#include "plan/simulator.h"

namespace npumoe {

inline constexpr float kJump = 0.02f;  // of a weight; fp16 moves one by about 1e-3

// The first token that fp16 sends to other experts than the CPU did, or whose experts it weighs
// otherwise by a jump (SparseMixer's masks); the number of tokens when there is none.
inline size_t FirstFlip(const RoutingTrace& cpu, const RoutingTrace& npu) {
  const auto k = static_cast<size_t>(cpu.experts_per_token);
  const auto weights_of = [k](const LayerRouting& layer, size_t token) {
    std::map<int32_t, float> weights;
    for (size_t i = token * k; i < (token + 1) * k; ++i) weights[layer.ids[i]] = layer.weights[i];
    return weights;
  };
  for (size_t token = 0; token < static_cast<size_t>(cpu.tokens()); ++token) {
    for (size_t l = 0; l < cpu.layers.size(); ++l) {
      const auto a = weights_of(cpu.layers[l], token);
      const auto b = weights_of(npu.layers[l], token);
      const bool same = std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
        return x.first == y.first && std::abs(x.second - y.second) <= kJump;
      });
      if (!same) return token;
    }
  }
  return static_cast<size_t>(cpu.tokens());
}

}  // namespace npumoe
