// Parts of attention programs that are written for fp16: RMS norm and rotation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

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

// Which two channels of a head turn together. Either way the turned ones come out in halves, as the
// cache keeps them: only then do queries and keys add up in one order whatever the model's.
enum class RotaryPairs {
  kHalves,      // i and i + rotary_dim / 2
  kSideBySide,  // 2i and 2i + 1
};

// Rotation of the first channels of every head. With a and b the first and second of each pair and
// `rest` what does not turn, along the channels
//   [a * cos - b * sin, b * cos + a * sin, rest].
// Tables [1, rotary_dim, 1, tokens] hold both halves.
class RotaryTables {
 public:
  RotaryTables(GraphBuilder& builder, const GraphBuilder::Value& cos,
               const GraphBuilder::Value& sin, RotaryPairs pairs);
  // heads [1, heads, head_dim, tokens]
  GraphBuilder::Value Rotate(GraphBuilder& builder, const std::string& name,
                             const GraphBuilder::Value& heads) const;

 private:
  // a, b and what does not turn, if anything: [1, heads, half | rest, tokens].
  std::vector<GraphBuilder::Value> Halves(GraphBuilder& builder, const std::string& name,
                                          const GraphBuilder::Value& heads) const;
  std::vector<GraphBuilder::Value> Neighbours(GraphBuilder& builder, const std::string& name,
                                              const GraphBuilder::Value& heads) const;
  int32_t RestOf(const GraphBuilder::Value& heads) const;

  RotaryPairs pairs_;
  int32_t half_ = 0;
  GraphBuilder::Value cos_a_, cos_b_, sin_a_, sin_b_;
};

}  // namespace npumoe
