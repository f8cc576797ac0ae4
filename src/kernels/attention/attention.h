// Causal attention of a chunk of queries over the KV cache, in blocks with a running softmax: no
// [T, T] buffer. Grouped-query: query head h reads key/value head h / (num_heads / num_kv_heads).
//   out[t, h] = softmax_s( scale * q[t, h] . k[s, g] for s <= position + t ) v[s, g]
// With a window, only s > position + t - window take part. A sink is one more logit of the head in
// the denominator, without a value:
//   p[s] = exp(l[s]) / (exp(sink[h]) + sum exp(l))
// Blocks of keys outside the window are not read: the cost follows the window.
//
// Results do not depend on the number of threads. A token's result depends on the chunk it stands
// in only by the rounding of sums that are cut elsewhere.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

struct AttentionArgs {
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;              // of queries and keys
  int value_dim = 0;             // of values and outputs; 0: head_dim
  float scale = 0;               // 1 / sqrt(head_dim)
  int64_t position = 0;          // context index of the first query
  int64_t window = 0;            // 0: the whole context
  std::span<const float> sinks;  // [num_heads] or empty
  ConstMatrix queries;           // [T, num_heads * head_dim], rotary applied
  // Cached keys and values of positions 0 .. position + T - 1, one fp32 row per position:
  ConstMatrix keys;    // [position + T, num_kv_heads * head_dim]
  ConstMatrix values;  // [position + T, num_kv_heads * value_dim]; may lie inside the key rows
  Matrix out;          // [T, num_heads * value_dim]

  int ValueDim() const { return value_dim == 0 ? head_dim : value_dim; }
  int GroupSize() const { return num_heads / num_kv_heads; }  // query heads per key/value head
  // Positions that the query of row `token` sees: [FirstKey, EndKey).
  int64_t FirstKey(int64_t token) const {
    return window == 0 ? 0 : std::max<int64_t>(0, position + token + 1 - window);
  }
  int64_t EndKey(int64_t token) const { return position + token + 1; }
};

void Attention(const AttentionArgs& args, ThreadPool& pool);
void AttentionReference(const AttentionArgs& args);

}  // namespace npumoe
