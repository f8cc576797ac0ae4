// The inner part of attention on one thread: the query heads that share one key/value head, for a
// range of tokens, over a span of keys. attention.cc owns threads, scratch and the merge of spans.
#pragma once

#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "kernels/attention/attention.h"

namespace npumoe {

// Keys whose scores exist at once (chosen: 64 keys and values of 128 floats fill a 64 KB part of
// the L2 cache, and their scores for a row one cache line per vector of lanes).
inline constexpr int64_t kKeysPerBlock = 64;
// Score of a key that a query may not see. Finite, so that differences are never NaN.
inline constexpr float kMasked = -1e30f;

// One partial result per row: rows are tokens x query heads of the group, token first.
//   sum[r] = sum_s exp(score[s] - max[r]),  out[r] = sum_s exp(score[s] - max[r]) v[s]
struct SpanScratch {
  AlignedBuffer<float> queries;  // [rows, stride of head_dim], scaled
  AlignedBuffer<float> scores;   // [rows, kKeysPerBlock]
  AlignedBuffer<float> values;   // [kKeysPerBlock, stride], when value_dim is no whole vectors
  AlignedBuffer<float> out;      // [rows, stride of value_dim]
  AlignedBuffer<float> max;      // [rows]; kMasked where a row sees none of the keys
  AlignedBuffer<float> sum;      // [rows]

  void EnsureRows(int64_t rows, int64_t query_stride, int64_t value_stride);
};

// Floats from one row of a scratch array to the next: a multiple of the widest vector.
inline int64_t ScratchStride(int columns) { return RoundUp<int64_t>(columns, 32); }

struct AttentionSpan {
  int kv_head = 0;
  int64_t first_token = 0;
  int64_t end_token = 0;
  int64_t first_key = 0;  // a multiple of kKeysPerBlock
  int64_t end_key = 0;    // keys that a query may not see are masked
};

void AttendSpan(const AttentionArgs& args, const AttentionSpan& span, SpanScratch& scratch);

}  // namespace npumoe
