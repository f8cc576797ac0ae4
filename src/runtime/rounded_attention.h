// RoundedAttention: a layer's attention matrices as a program of the plan holds them, so that a
// program is held against its own weights and what remains is the device's error.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/graph.h"
#include "model/weights.h"
#include "plan/plan.h"

namespace npumoe {

class RoundedAttention {
 public:
  // Of a weight format other than fp16, whose rounding is that of every program. Encodes the
  // layer's matrices.
  static Result<RoundedAttention> Of(const Plan& plan, const ModelConfig& config,
                                     const AttentionWeights& weights, int layer);

  // Those of the model with the matrices replaced; they lie here.
  const AttentionWeights& weights() const { return weights_; }

 private:
  // `matrix` becomes what the graph's weights of these names hold, one after another.
  Status Replace(const Graph& graph, const std::vector<std::string>& names, TensorView& matrix);

  AttentionWeights weights_;
  std::deque<std::vector<uint16_t>> fp16_;
};

}  // namespace npumoe
