// What attention programs of every kind do with heads: projections into and out of them, and the
// attention of one head over the keys.
//
// Between the projections, heads stand on axis 1, their channels on axis 2 and tokens on the last:
// [1, heads, head_dim, tokens], the same bytes as [1, channels, 1, tokens], so that a product of
// two heads contracts the channels without moving anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/builder.h"
#include "graph/weight_format.h"
#include "graph/weights/declare_matrix.h"

namespace npumoe {

// Apple's additive mask: far below any logit and within fp16 (ane-facts, section 4).
inline constexpr float kMaskedOut = -40000.0f;

struct AttentionExtent {
  int64_t chunk_tokens = 0;    // C
  int64_t history_tokens = 0;  // L, 0 for the first chunk
};
Status CheckExtent(const AttentionExtent& extent);
Status CheckLogitScale(float scale);
Status CheckNormEpsilon(float epsilon);

// A matrix, with its bias where it has one, as a 1x1 convolution. "w_NAME" and "b_NAME" are its
// weights, "attention: NAME" it is called in messages.
struct Projection {
  std::string name;
  const WeightMatrix& matrix;
  MatrixShape shape;
  const WeightData& bias;
};
Status CheckProjection(const Projection& projection);
GraphBuilder::Value Project(GraphBuilder& builder, const std::string& name,
                            const GraphBuilder::Value& from, const Projection& projection);

// [1, heads * d, 1, tokens] <-> [1, heads, d, tokens]
GraphBuilder::Value ToHeads(GraphBuilder& builder, const std::string& name,
                            const GraphBuilder::Value& channels, int heads);
GraphBuilder::Value ToChannels(GraphBuilder& builder, const std::string& name,
                               const GraphBuilder::Value& heads);
// Each head of a value by itself, [1, 1, d, tokens], and together again as channels.
std::vector<GraphBuilder::Value> EachHead(GraphBuilder& builder, const std::string& name,
                                          const GraphBuilder::Value& heads, int count);
GraphBuilder::Value JoinHeads(GraphBuilder& builder, const std::string& name,
                              const std::vector<GraphBuilder::Value>& heads);

// One head's queries over its keys: softmax of their products and the mask, times the values.
class HeadAttention {
 public:
  // Declares the input "mask" [1, L + C, 1, C].
  HeadAttention(GraphBuilder& builder, const AttentionExtent& extent);
  // query [1, 1, d, C], key [1, 1, d, L + C], value [1, 1, v, L + C] -> [1, 1, v, C]. `sink`: one
  // more logit, which takes its share and gives nothing.
  GraphBuilder::Value Attend(int head, const GraphBuilder::Value& query,
                             const GraphBuilder::Value& key, const GraphBuilder::Value& value,
                             std::optional<float> sink = std::nullopt) const;

 private:
  GraphBuilder::Value SharesBesideSink(const std::string& suffix, const GraphBuilder::Value& logits,
                                       float sink) const;

  GraphBuilder& builder_;
  AttentionExtent extent_;
  GraphBuilder::Value mask_;
};

}  // namespace npumoe
