// Parts of attention programs that are written for fp16: RMS norm and rotation.
#pragma once

#include <string>

#include "graph/builder.h"

namespace npumoe {

// x / sqrt(mean(x^2) + epsilon) * gamma, exact in every x that fp16 holds: x^2 itself would
// overflow from 256 on. With any m > 0 it is u / sqrt(mean(u^2) + epsilon / m^2), u = x / m. Here
// m = max(largest |x|, sqrt(epsilon)), so that u and sqrt(epsilon) / m are at most 1 and m is never
// 0. What underflows in u^2 and epsilon / m^2 is below 2^-24, and the mean at least 1 / channels.
struct SafeRmsNorm {
  float epsilon = 0;
  std::string name;

  // Along `axis`; `gamma` broadcasts to x.
  GraphBuilder::Value Write(GraphBuilder& builder, const GraphBuilder::Value& x, int axis,
                            const GraphBuilder::Value& gamma) const;
};

// Rotation of the first channels of every head in halves: with x = [a, b, rest] along the channels
//   [a * cos - b * sin, b * cos + a * sin, rest].
// Tables [1, rotary_dim, 1, tokens] hold both halves.
class RotaryTables {
 public:
  RotaryTables(GraphBuilder& builder, const GraphBuilder::Value& cos,
               const GraphBuilder::Value& sin);
  // heads [1, heads, head_dim, tokens]
  GraphBuilder::Value Rotate(GraphBuilder& builder, const std::string& name,
                             const GraphBuilder::Value& heads) const;

 private:
  int32_t half_ = 0;
  GraphBuilder::Value cos_a_, cos_b_, sin_a_, sin_b_;
};

}  // namespace npumoe
