#include "kernels/attention/attention_span.h"

#include <algorithm>

#include "kernels/gemm/prefetch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_span.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/activation/activation-inl.h"
#include "kernels/gemm/micro_kernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {

// Vectors of an output row that one tile accumulates; with kMaxRows rows the same registers as
// the tile of a matrix product.
constexpr int kValueVectors = 4;
constexpr int kMaxRows = F32Weights::kMaxRows;

struct KeyBlock {
  const AttentionArgs* args = nullptr;
  int64_t first = 0;
  int64_t count = 0;
  int64_t key_column = 0;                // of the key/value head in a row of keys
  int64_t value_column = 0;              // and in one of values
  GradualPrefetch* next_keys = nullptr;  // the block after this one
  GradualPrefetch* next_values = nullptr;
};

// scores[r, s] = queries[r] . keys[s] for kRows rows and all keys of the block.
template <int kRows>
HWY_INLINE void ScoreTile(const KeyBlock& block, const float* queries, int64_t stride,
                          float* scores) {
  for (int64_t s = 0; s < block.count; s += kWeightRows) {
    block.next_keys->Next();
    block.next_values->Next();
    const float* keys[kWeightRows];
    // Past the end the last key stands in; its scores are masked later.
    for (int j = 0; j < kWeightRows; ++j) {
      keys[j] =
          block.args->keys.Row(block.first + std::min(s + j, block.count - 1)) + block.key_column;
    }
    V acc[kRows][kWeightRows];
    MultiplyTile<F32Weights, kRows>(queries, stride, keys, block.args->head_dim, acc);
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) StoreSums(acc[r], nullptr, scores + r * kKeysPerBlock + s);
  }
}

// out[r, :] = out[r, :] * scale[r] + sum_s p[r, s] values[s, :] for kRows rows and kVectors
// vectors of columns.
template <int kRows, int kVectors>
HWY_INLINE void ValueTile(const float* p, const float* scale, const float* values,
                          int64_t value_stride, int64_t count, float* out, int64_t stride) {
  const D d;
  V acc[kRows][kVectors];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(8)
    for (int j = 0; j < kVectors; ++j) {
      acc[r][j] = hn::Mul(hn::LoadU(d, out + r * stride + j * kLanes), hn::Set(d, scale[r]));
    }
  }
  for (int64_t s = 0; s < count; ++s) {
    V value[kVectors];
    HWY_UNROLL(8)
    for (int j = 0; j < kVectors; ++j) {
      value[j] = hn::LoadU(d, values + s * value_stride + j * kLanes);
    }
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      const V weight = hn::Set(d, p[r * kKeysPerBlock + s]);
      HWY_UNROLL(8)
      for (int j = 0; j < kVectors; ++j) acc[r][j] = hn::MulAdd(weight, value[j], acc[r][j]);
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(8)
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(acc[r][j], d, out + r * stride + j * kLanes);
    }
  }
}

template <int kRows>
HWY_INLINE void ValueRows(const float* p, const float* scale, const float* values,
                          int64_t value_stride, const KeyBlock& block, float* out, int64_t stride) {
  const int64_t columns = RoundUp<int64_t>(block.args->ValueDim(), kLanes);
  constexpr int64_t wide = int64_t{kValueVectors} * kLanes;
  int64_t i = 0;
  for (; i + wide <= columns; i += wide) {
    ValueTile<kRows, kValueVectors>(p, scale, values + i, value_stride, block.count, out + i,
                                    stride);
  }
  for (; i < columns; i += kLanes) {
    ValueTile<kRows, 1>(p, scale, values + i, value_stride, block.count, out + i, stride);
  }
}

// Turns the scores of one row into exp(score - max), of which [first, end) count; returns the
// factor that brings what was summed before to the same maximum.
HWY_INLINE float SoftmaxStep(int64_t first, int64_t end, float* scores, float& max, float& sum) {
  const D d;
  std::fill(scores, scores + first, kMasked);
  std::fill(scores + end, scores + kKeysPerBlock, kMasked);
  V largest = hn::Set(d, max);
  for (int64_t i = 0; i < kKeysPerBlock; i += kLanes) {
    largest = hn::Max(largest, hn::LoadU(d, scores + i));
  }
  const float new_max = hn::GetLane(hn::MaxOfLanes(d, largest));
  const V shift = hn::Set(d, new_max);
  V sums = hn::Zero(d);
  for (int64_t i = 0; i < kKeysPerBlock; i += kLanes) {
    const V e = ExpNegative(d, hn::Sub(hn::LoadU(d, scores + i), shift));
    hn::StoreU(e, d, scores + i);
    sums = hn::Add(sums, e);
  }
  const float scale = hn::GetLane(ExpNegative(d, hn::Set(d, max - new_max)));
  sum = sum * scale + hn::GetLane(hn::SumOfLanes(d, sums));
  max = new_max;
  return scale;
}

// The values of a block as whole vectors: in place, or copied into padded rows.
HWY_INLINE const float* ValuesOf(const KeyBlock& block, SpanScratch& scratch, int64_t& stride) {
  const AttentionArgs& args = *block.args;
  if (args.ValueDim() % kLanes == 0) {
    stride = args.values.stride;
    return args.values.Row(block.first) + block.value_column;
  }
  stride = ScratchStride(args.ValueDim());
  for (int64_t s = 0; s < block.count; ++s) {
    std::copy_n(args.values.Row(block.first + s) + block.value_column, args.ValueDim(),
                scratch.values.data() + s * stride);
  }
  return scratch.values.data();
}

struct Rows {
  int64_t first = 0;
  const float* values = nullptr;
  int64_t value_stride = 0;
};

// kRows rows of the scratch against one block of keys.
template <int kRows>
HWY_NOINLINE void AttendTile(const KeyBlock& block, const AttentionSpan& span, const Rows& rows,
                             SpanScratch& scratch) {
  const AttentionArgs& args = *block.args;
  const int64_t group = args.GroupSize();
  const auto token_of = [&](int64_t row) { return span.first_token + row / group; };
  const int64_t block_end = block.first + block.count;
  // No row of the tile sees the block: its sums stay as they are.
  if (args.FirstKey(token_of(rows.first)) >= block_end ||
      args.EndKey(token_of(rows.first + kRows - 1)) <= block.first) {
    return;
  }
  const int64_t query_stride = ScratchStride(args.head_dim);
  float* scores = scratch.scores.data() + rows.first * kKeysPerBlock;
  ScoreTile<kRows>(block, scratch.queries.data() + rows.first * query_stride, query_stride, scores);
  float scale[kRows];
  for (int r = 0; r < kRows; ++r) {
    const int64_t row = rows.first + r;
    const int64_t end = std::clamp(args.EndKey(token_of(row)), block.first, block_end);
    const int64_t first = std::clamp(args.FirstKey(token_of(row)), block.first, end);
    scale[r] =
        SoftmaxStep(first - block.first, end - block.first, scores + r * kKeysPerBlock,
                    scratch.max[static_cast<size_t>(row)], scratch.sum[static_cast<size_t>(row)]);
  }
  const int64_t out_stride = ScratchStride(args.ValueDim());
  ValueRows<kRows>(scores, scale, rows.values, rows.value_stride, block,
                   scratch.out.data() + rows.first * out_stride, out_stride);
}

template <int kRows>
void AttendTileOf(int64_t count, const KeyBlock& block, const AttentionSpan& span, const Rows& rows,
                  SpanScratch& scratch) {
  if (count >= kRows) return AttendTile<kRows>(block, span, rows, scratch);
  if constexpr (kRows > 1) AttendTileOf<kRows - 1>(count, block, span, rows, scratch);
}

// One head's part of `count` cache rows from `first` on.
MemoryBlock CacheRows(ConstMatrix cache, int64_t first, int64_t count, int64_t column,
                      int columns) {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(float));
  return {cache.Row(first) + column, count, columns * kBytes, cache.stride * kBytes};
}

void AttendKeys(const AttentionArgs& args, const AttentionSpan& span, int64_t row_count,
                SpanScratch& scratch) {
  const int64_t key_column = int64_t{span.kv_head} * args.head_dim;
  const int64_t value_column = int64_t{span.kv_head} * args.ValueDim();
  for (int64_t key = span.first_key; key < span.end_key; key += kKeysPerBlock) {
    const int64_t next = std::min(key + kKeysPerBlock, span.end_key);
    const int64_t ahead = std::min(kKeysPerBlock, span.end_key - next);
    const int64_t steps = DivideRoundUp<int64_t>(row_count, kMaxRows) *
                          DivideRoundUp<int64_t>(next - key, kWeightRows);
    GradualPrefetch keys(CacheRows(args.keys, next, ahead, key_column, args.head_dim), steps);
    GradualPrefetch values(CacheRows(args.values, next, ahead, value_column, args.ValueDim()),
                           steps);
    const KeyBlock block{&args, key, next - key, key_column, value_column, &keys, &values};
    Rows rows;
    rows.values = ValuesOf(block, scratch, rows.value_stride);
    for (; rows.first < row_count; rows.first += kMaxRows) {
      AttendTileOf<kMaxRows>(row_count - rows.first, block, span, rows, scratch);
    }
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {

HWY_EXPORT(AttendKeys);

void SpanScratch::EnsureRows(int64_t rows, int64_t query_stride, int64_t value_stride) {
  queries.EnsureSize(static_cast<size_t>(rows * query_stride));
  scores.EnsureSize(static_cast<size_t>(rows * kKeysPerBlock));
  values.EnsureSize(static_cast<size_t>(kKeysPerBlock * value_stride));
  out.EnsureSize(static_cast<size_t>(rows * value_stride));
  max.EnsureSize(static_cast<size_t>(rows));
  sum.EnsureSize(static_cast<size_t>(rows));
}

void AttendSpan(const AttentionArgs& args, const AttentionSpan& span, SpanScratch& scratch) {
  const int64_t group = args.GroupSize();
  const int64_t rows = (span.end_token - span.first_token) * group;
  const int64_t query_stride = ScratchStride(args.head_dim);
  const int64_t value_stride = ScratchStride(args.ValueDim());
  scratch.EnsureRows(rows, query_stride, value_stride);
  // Padding is zero in queries and values, whatever an earlier call with another shape left.
  std::fill_n(scratch.queries.data(), rows * query_stride, 0.0f);
  std::fill_n(scratch.values.data(), kKeysPerBlock * value_stride, 0.0f);
  std::fill_n(scratch.out.data(), rows * value_stride, 0.0f);
  std::fill_n(scratch.max.data(), rows, kMasked);
  std::fill_n(scratch.sum.data(), rows, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    const float* query = args.queries.Row(span.first_token + r / group) +
                         (span.kv_head * group + r % group) * args.head_dim;
    float* scaled = scratch.queries.data() + r * query_stride;
    for (int64_t i = 0; i < args.head_dim; ++i) scaled[i] = query[i] * args.scale;
  }
  HWY_DYNAMIC_DISPATCH(AttendKeys)(args, span, rows, scratch);
}

}  // namespace npumoe
#endif
