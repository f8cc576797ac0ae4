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
// When tokens are few, a task is a span of keys: about so many multiplications, in whole blocks up
// to 512 keys (chosen: some tens of microseconds), and no more spans than partial results of 64.
constexpr int64_t kWorkPerSpan = int64_t{1} << 20;
constexpr int64_t kMaxKeysPerSpan = 512;
constexpr int64_t kMaxSpans = 64;
// Partial results that one thread merges before another one has woken up (chosen).
constexpr int64_t kMinParallelFloats = 1 << 15;

int64_t TokensPerTask(const AttentionArgs& args) {
  return std::max<int64_t>(1, kRowsPerTask / args.GroupSize());
}

// Where the keys of a task begin whose first query is row `token`.
int64_t FirstBlock(const AttentionArgs& args, int64_t token) {
  return args.FirstKey(token) / kKeysPerBlock * kKeysPerBlock;
}

// What one row has summed over its keys, relative to `max`.
struct RowSums {
  const float* out = nullptr;  // [value_dim]
  float max = 0;
  float sum = 0;
};

// The output of one query head. Its sink joins the sum.
void Finish(const AttentionArgs& args, int64_t token, int64_t head, const RowSums& sums) {
  float scale = 1.0f / sums.sum;
  if (!args.sinks.empty()) {
    const float sink = args.sinks[static_cast<size_t>(head)];
    const float max = std::max(sums.max, sink);
    const float kept = std::exp(sums.max - max);
    scale = kept / (kept * sums.sum + std::exp(sink - max));
  }
  const int64_t size = args.ValueDim();
  float* out = args.out.Row(token) + head * size;
  for (int64_t i = 0; i < size; ++i) out[i] = sums.out[i] * scale;
}

void AttendTokenBlock(const AttentionArgs& args, const AttentionSpan& span) {
  thread_local SpanScratch scratch;
  AttendSpan(args, span, scratch);
  const int64_t group = args.GroupSize();
  const int64_t stride = ScratchStride(args.ValueDim());
  for (int64_t r = 0; r < (span.end_token - span.first_token) * group; ++r) {
    const auto row = static_cast<size_t>(r);
    Finish(args, span.first_token + r / group, span.kv_head * group + r % group,
           {scratch.out.data() + r * stride, scratch.max[row], scratch.sum[row]});
  }
}

void AttendTokenBlocks(const AttentionArgs& args, ThreadPool& pool) {
  const int64_t tokens_per_task = TokensPerTask(args);
  const int64_t blocks = DivideRoundUp(args.queries.rows, tokens_per_task);
  pool.ParallelFor(blocks * args.num_kv_heads, [&](int64_t index, int) {
    // The last tokens see the most keys: they go first, so that threads end together.
    const int64_t block = blocks - 1 - index / args.num_kv_heads;
    AttentionSpan span;
    span.kv_head = static_cast<int>(index % args.num_kv_heads);
    span.first_token = block * tokens_per_task;
    span.end_token = std::min(span.first_token + tokens_per_task, args.queries.rows);
    span.first_key = FirstBlock(args, span.first_token);
    span.end_key = args.EndKey(span.end_token - 1);
    AttendTokenBlock(args, span);
  });
}

// Partial results of all spans: rows [key/value head][span][row], each value_dim floats of output
// followed by the maximum and the sum.
struct Partials {
  float* data = nullptr;
  int64_t first_key = 0;
  int64_t end_key = 0;
  int64_t keys_per_span = 0;
  int64_t spans = 0;
  int64_t rows = 0;  // of one key/value head
  int64_t row_floats = 0;

  float* Row(int64_t kv_head, int64_t span, int64_t row) const {
    return data + ((kv_head * spans + span) * rows + row) * row_floats;
  }
};

Partials PlacePartials(const AttentionArgs& args) {
  Partials p;
  p.first_key = FirstBlock(args, 0);
  p.end_key = args.EndKey(args.queries.rows - 1);
  p.rows = args.queries.rows * args.GroupSize();
  p.row_floats = int64_t{args.ValueDim()} + 2;
  const int64_t work_per_key = p.rows * (args.head_dim + args.ValueDim());
  const int64_t few = DivideRoundUp(p.end_key - p.first_key, kMaxSpans);
  p.keys_per_span =
      RoundUp(std::max(std::min(kWorkPerSpan / work_per_key, kMaxKeysPerSpan), few), kKeysPerBlock);
  p.spans = DivideRoundUp(p.end_key - p.first_key, p.keys_per_span);
  return p;
}

void AttendKeySpan(const AttentionArgs& args, const Partials& partials, int64_t index) {
  thread_local SpanScratch scratch;
  const int64_t kv_head = index / partials.spans;
  const int64_t span_index = index % partials.spans;
  AttentionSpan span;
  span.kv_head = static_cast<int>(kv_head);
  span.end_token = args.queries.rows;
  span.first_key = partials.first_key + span_index * partials.keys_per_span;
  span.end_key = std::min(span.first_key + partials.keys_per_span, partials.end_key);
  AttendSpan(args, span, scratch);
  const int size = args.ValueDim();
  for (int64_t r = 0; r < partials.rows; ++r) {
    float* partial = partials.Row(kv_head, span_index, r);
    std::copy_n(scratch.out.data() + r * ScratchStride(size), size, partial);
    partial[size] = scratch.max[static_cast<size_t>(r)];
    partial[size + 1] = scratch.sum[static_cast<size_t>(r)];
  }
}

void MergeRow(const AttentionArgs& args, const Partials& partials, int64_t kv_head, int64_t row) {
  const int size = args.ValueDim();
  float max = kMasked;
  for (int64_t s = 0; s < partials.spans; ++s) {
    max = std::max(max, partials.Row(kv_head, s, row)[size]);
  }
  float* total = partials.Row(kv_head, 0, row);
  for (int64_t s = 0; s < partials.spans; ++s) {
    const float* partial = partials.Row(kv_head, s, row);
    const float scale = std::exp(partial[size] - max);
    const float old = s == 0 ? 0.0f : 1.0f;
    for (int i = 0; i < size; ++i) total[i] = old * total[i] + scale * partial[i];
    total[size + 1] = old * total[size + 1] + scale * partial[size + 1];
  }
  const int64_t group = args.GroupSize();
  Finish(args, row / group, kv_head * group + row % group, {total, max, total[size + 1]});
}

void AttendKeySpans(const AttentionArgs& args, ThreadPool& pool) {
  thread_local AlignedBuffer<float> buffer;
  Partials partials = PlacePartials(args);
  const int64_t rows = args.num_kv_heads * partials.rows;
  const int64_t floats = rows * partials.spans * partials.row_floats;
  buffer.EnsureSize(static_cast<size_t>(floats));
  partials.data = buffer.data();
  pool.ParallelFor(args.num_kv_heads * partials.spans,
                   [&](int64_t index, int) { AttendKeySpan(args, partials, index); });
  const auto merge = [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      MergeRow(args, partials, r / partials.rows, r % partials.rows);
    }
  };
  if (floats < kMinParallelFloats) return merge(0, rows, 0);
  pool.ParallelRanges(rows, 1, merge);
}

void CheckShapes(const AttentionArgs& args) {
  const int64_t keys = args.position + args.queries.rows;
  NPUMOE_CHECK(args.num_kv_heads > 0 && args.num_heads % args.num_kv_heads == 0);
  NPUMOE_CHECK(args.head_dim > 0 && args.ValueDim() > 0);
  NPUMOE_CHECK(args.position >= 0 && args.window >= 0);
  NPUMOE_CHECK(args.keys.rows >= keys && args.values.rows >= keys);
  NPUMOE_CHECK(args.queries.columns == int64_t{args.num_heads} * args.head_dim);
  NPUMOE_CHECK(args.keys.columns == int64_t{args.num_kv_heads} * args.head_dim);
  NPUMOE_CHECK(args.values.columns == int64_t{args.num_kv_heads} * args.ValueDim());
  NPUMOE_CHECK(args.out.rows == args.queries.rows);
  NPUMOE_CHECK(args.out.columns == int64_t{args.num_heads} * args.ValueDim());
  NPUMOE_CHECK(args.sinks.empty() || static_cast<int>(args.sinks.size()) == args.num_heads);
}

}  // namespace

void Attention(const AttentionArgs& args, ThreadPool& pool) {
  CheckShapes(args);
  if (args.queries.rows == 0) return;
  if (args.queries.rows <= TokensPerTask(args)) {
    AttendKeySpans(args, pool);
  } else {
    AttendTokenBlocks(args, pool);
  }
}

}  // namespace npumoe
