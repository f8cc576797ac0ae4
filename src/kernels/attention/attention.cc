// Cuts attention into tasks. Many tokens: (key/value head, block of tokens), each over all keys it
// sees. Few tokens, as in decoding: (key/value head, span of keys), merged afterwards. The cut
// depends on the shape alone, so results do not depend on the number of threads.
#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "kernels/attention/attention_span.h"

namespace npumoe {
namespace {

// Rows (tokens x query heads of a group) of one task: chosen, a multiple of every tile height;
// keys and values are read once per task.
constexpr int64_t kRowsPerTask = 96;
// Keys of one task when tokens are few (chosen: some tens of microseconds of reading).
constexpr int64_t kKeysPerSpan = 512;

int64_t GroupOf(const AttentionArgs& args) { return args.num_heads / args.num_kv_heads; }

// out[row] = accumulated / sum.
void Normalise(const float* accumulated, float sum, int head_dim, float* out) {
  const float inverse = 1.0f / sum;
  for (int i = 0; i < head_dim; ++i) out[i] = accumulated[i] * inverse;
}

float* OutputOf(const AttentionArgs& args, const AttentionSpan& span, int64_t row) {
  const int64_t group = GroupOf(args);
  return args.out.Row(span.first_token + row / group) +
         (span.kv_head * group + row % group) * args.head_dim;
}

void AttendTokenBlocks(const AttentionArgs& args, ThreadPool& pool) {
  const int64_t tokens_per_task = std::max<int64_t>(1, kRowsPerTask / GroupOf(args));
  const int64_t blocks = DivideRoundUp(args.queries.rows, tokens_per_task);
  pool.ParallelFor(blocks * args.num_kv_heads, [&](int64_t index, int) {
    thread_local SpanScratch scratch;
    // The last tokens see the most keys: they go first, so that threads end together.
    const int64_t block = blocks - 1 - index / args.num_kv_heads;
    AttentionSpan span{static_cast<int>(index % args.num_kv_heads), block * tokens_per_task, 0, 0,
                       0};
    span.end_token = std::min(span.first_token + tokens_per_task, args.queries.rows);
    span.end_key = args.position + span.end_token;
    AttendSpan(args, span, scratch);
    const int64_t rows = (span.end_token - span.first_token) * GroupOf(args);
    for (int64_t r = 0; r < rows; ++r) {
      Normalise(scratch.out.data() + r * ScratchStride(args.head_dim),
                scratch.sum[static_cast<size_t>(r)], args.head_dim, OutputOf(args, span, r));
    }
  });
}

// Partial results of all spans: rows [key/value head][span][row], each `stride` floats of output
// followed by the maximum and the sum.
struct Partials {
  float* data = nullptr;
  int64_t spans = 0;
  int64_t rows = 0;  // of one key/value head
  int64_t row_floats = 0;

  float* Row(int64_t kv_head, int64_t span, int64_t row) const {
    return data + ((kv_head * spans + span) * rows + row) * row_floats;
  }
};

void MergeRow(const AttentionArgs& args, const Partials& partials, int64_t kv_head, int64_t row) {
  const int d = args.head_dim;
  float max = kMasked;
  for (int64_t s = 0; s < partials.spans; ++s) {
    max = std::max(max, partials.Row(kv_head, s, row)[d]);
  }
  float* total = partials.Row(kv_head, 0, row);
  for (int64_t s = 0; s < partials.spans; ++s) {
    const float* partial = partials.Row(kv_head, s, row);
    const float scale = std::exp(partial[d] - max);
    const float old = s == 0 ? 0.0f : 1.0f;
    for (int i = 0; i < d; ++i) total[i] = old * total[i] + scale * partial[i];
    total[d + 1] = old * total[d + 1] + scale * partial[d + 1];
  }
  const AttentionSpan all{static_cast<int>(kv_head), 0, args.queries.rows, 0, 0};
  Normalise(total, total[d + 1], d, OutputOf(args, all, row));
}

void AttendKeySpans(const AttentionArgs& args, ThreadPool& pool) {
  thread_local AlignedBuffer<float> buffer;
  const int64_t keys = args.position + args.queries.rows;
  Partials partials{nullptr, DivideRoundUp(keys, kKeysPerSpan), args.queries.rows * GroupOf(args),
                    int64_t{args.head_dim} + 2};
  buffer.EnsureSize(static_cast<size_t>(args.num_kv_heads * partials.spans * partials.rows *
                                        partials.row_floats));
  partials.data = buffer.data();
  pool.ParallelFor(args.num_kv_heads * partials.spans, [&](int64_t index, int) {
    thread_local SpanScratch scratch;
    const int64_t kv_head = index / partials.spans;
    const int64_t span_index = index % partials.spans;
    const int64_t first_key = span_index * kKeysPerSpan;
    const AttentionSpan span{static_cast<int>(kv_head), 0, args.queries.rows, first_key,
                             std::min(first_key + kKeysPerSpan, keys)};
    AttendSpan(args, span, scratch);
    for (int64_t r = 0; r < partials.rows; ++r) {
      float* partial = partials.Row(kv_head, span_index, r);
      std::copy_n(scratch.out.data() + r * ScratchStride(args.head_dim), args.head_dim, partial);
      partial[args.head_dim] = scratch.max[static_cast<size_t>(r)];
      partial[args.head_dim + 1] = scratch.sum[static_cast<size_t>(r)];
    }
  });
  for (int64_t kv_head = 0; kv_head < args.num_kv_heads; ++kv_head) {
    for (int64_t r = 0; r < partials.rows; ++r) MergeRow(args, partials, kv_head, r);
  }
}

void CheckShapes(const AttentionArgs& args) {
  const int64_t keys = args.position + args.queries.rows;
  NPUMOE_CHECK(args.num_kv_heads > 0 && args.num_heads % args.num_kv_heads == 0);
  NPUMOE_CHECK(args.head_dim > 0 && args.position >= 0);
  NPUMOE_CHECK(args.keys.rows >= keys && args.values.rows >= keys);
  NPUMOE_CHECK(args.queries.columns == int64_t{args.num_heads} * args.head_dim);
  NPUMOE_CHECK(args.keys.columns == int64_t{args.num_kv_heads} * args.head_dim);
  NPUMOE_CHECK(args.values.columns == args.keys.columns);
  NPUMOE_CHECK(args.out.rows == args.queries.rows && args.out.columns == args.queries.columns);
}

}  // namespace

void Attention(const AttentionArgs& args, ThreadPool& pool) {
  CheckShapes(args);
  if (args.queries.rows == 0) return;
  if (args.queries.rows * GroupOf(args) <= kRowsPerTask) {
    AttendKeySpans(args, pool);
  } else {
    AttendTokenBlocks(args, pool);
  }
}

}  // namespace npumoe
