// Attention programs: the attention of one layer over a chunk of C tokens and a history of up to L
// cached ones, as a static graph. The cache belongs to the host: keys and values of the history
// are read-only inputs, those of the chunk are outputs, which the host appends.
//
// Layout [1, channels, 1, tokens]; one head at a time, products written so that the channel axis
// is contracted; softmax over the keys with an additive mask. All values fp16. Queries and keys
// are projected, normed, clipped and rotated, in this order; queries are scaled before the product.
//
//   inputs   x        [1, hidden, 1, C]        normed hidden rows
//            cos, sin [1, rotary_dim, 1, C]    rotary tables of the chunk's positions, both halves;
//                                              absent when nothing rotates
//            mask     [1, L + C, 1, C]         0, or kMaskedOut where the query may not look
//            keys     [1, kv_heads * head_dim, 1, L]    rotary applied; absent when L = 0
//            values   [1, kv_heads * value_dim, 1, L]   absent when L = 0
//   outputs  y          [1, hidden, 1, C]      after the output projection
//            new_keys   [1, kv_heads * head_dim, 1, C]  rotary applied
//            new_values [1, kv_heads * value_dim, 1, C]
//
// Several history lengths are functions of one package and share its weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/attention_heads.h"
#include "graph/attention_parts.h"
#include "graph/graph.h"
#include "graph/weight_format.h"

namespace npumoe {

enum class HeadNorm { kNone, kPerHead, kWholeWidth };  // RMS norm of queries and keys

struct AttentionProgramShape {
  int64_t hidden = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int64_t head_dim = 0;    // of queries and keys
  int64_t value_dim = 0;   // of values
  int64_t rotary_dim = 0;  // the first so many channels of a head rotate; 0: none
  float scale = 0;         // of the logits
  HeadNorm head_norm = HeadNorm::kNone;
  float norm_epsilon = 0;
  float clip_qkv = 0;  // 0: none
  RotaryPairs rotary_pairs = RotaryPairs::kHalves;
};

struct AttentionProgramWeights {
  WeightMatrix query;   // [num_heads * head_dim, hidden]
  WeightMatrix key;     // [num_kv_heads * head_dim, hidden]
  WeightMatrix value;   // [num_kv_heads * value_dim, hidden]
  WeightMatrix output;  // [hidden, num_heads * value_dim]
  // fp16 [out]; neither view nor producer: none.
  WeightData query_bias = {}, key_bias = {}, value_bias = {}, output_bias = {};
  // fp16 [head_dim], or [num_heads * head_dim] and [num_kv_heads * head_dim].
  WeightData query_norm = {}, key_norm = {};
  std::vector<float> sinks;  // [num_heads] or empty: one more logit without a value
};

// kUnsupported where the shape cannot be written (head_dim odd, heads not a multiple of kv heads).
Result<Graph> BuildAttentionGraph(const AttentionProgramShape& shape,
                                  const AttentionProgramWeights& weights,
                                  const AttentionExtent& extent,
                                  const std::string& function_name = "main");

}  // namespace npumoe
