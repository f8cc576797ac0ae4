// Gather and combine are copies: their cost is cache lines. Channel-major buffers are therefore
// visited in ranges of channels, over all rows, so that a line is met again while it is cached.
#include "kernels/dispatch/dispatch.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dispatch/dispatch.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/convert/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {

constexpr int64_t kSquare = 8;         // elements of 16 bits in a 128-bit block
constexpr int64_t kTileRows = 32;      // a cache line of fp16
constexpr int64_t kTileChannels = 64;  // chosen: a tile of 4 KB

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void TransposeSquare(const uint16_t* in, int64_t in_stride, uint16_t* out,
                                int64_t out_stride) {
  for (int64_t i = 0; i < kSquare; ++i) {
    for (int64_t j = 0; j < kSquare; ++j) out[j * out_stride + i] = in[i * in_stride + j];
  }
}
#else
// One round of a perfect shuffle over eight vectors; three rounds transpose.
template <class VV>
HWY_INLINE void InterleaveRound(hn::Full128<uint16_t> d, const VV (&in)[kSquare],
                                VV (&out)[kSquare]) {
  HWY_UNROLL(4)
  for (int i = 0; i < kSquare / 2; ++i) {
    out[2 * i] = hn::InterleaveLower(d, in[i], in[i + kSquare / 2]);
    out[2 * i + 1] = hn::InterleaveUpper(d, in[i], in[i + kSquare / 2]);
  }
}

// out[j, i] = in[i, j] for 8 x 8 elements.
HWY_INLINE void TransposeSquare(const uint16_t* in, int64_t in_stride, uint16_t* out,
                                int64_t out_stride) {
  const hn::Full128<uint16_t> d;
  hn::Vec<decltype(d)> a[kSquare], b[kSquare];
  HWY_UNROLL(8)
  for (int i = 0; i < kSquare; ++i) a[i] = hn::LoadU(d, in + i * in_stride);
  InterleaveRound(d, a, b);
  InterleaveRound(d, b, a);
  InterleaveRound(d, a, b);
  HWY_UNROLL(8)
  for (int i = 0; i < kSquare; ++i) hn::StoreU(b[i], d, out + i * out_stride);
}
#endif

// out[c, r] = tile[r, c] for `rows` of at most kTileRows rows and `channels` channels.
void TransposeTile(const uint16_t (&tile)[kTileRows][kTileChannels], int64_t rows, int64_t channels,
                   uint16_t* out, int64_t out_stride) {
  const int64_t square_rows = rows / kSquare * kSquare;
  const int64_t square_channels = channels / kSquare * kSquare;
  for (int64_t c = 0; c < square_channels; c += kSquare) {
    for (int64_t r = 0; r < square_rows; r += kSquare) {
      TransposeSquare(&tile[r][c], kTileChannels, out + c * out_stride + r, out_stride);
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t r = c < square_channels ? square_rows : 0; r < rows; ++r) {
      out[c * out_stride + r] = tile[r][c];
    }
  }
}

// Channels [begin, end), at most kTileChannels, of the channel-major gather.
void GatherChannels(ConstMatrix hidden, std::span<const int32_t> assignments, int experts_per_token,
                    int64_t capacity, int64_t begin, int64_t end, uint16_t* out) {
  const auto rows = static_cast<int64_t>(assignments.size());
  const int64_t channels = end - begin;
  alignas(64) uint16_t tile[kTileRows][kTileChannels];
  for (int64_t first = 0; first < rows; first += kTileRows) {
    const int64_t count = std::min(kTileRows, rows - first);
    for (int64_t r = 0; r < count; ++r) {
      const int32_t token = assignments[static_cast<size_t>(first + r)] / experts_per_token;
      ConvertToF16(hidden.Row(token) + begin, static_cast<size_t>(channels), tile[r]);
    }
    TransposeTile(tile, count, channels, out + begin * capacity + first, capacity);
  }
  for (int64_t c = begin; c < end; ++c) {
    std::fill(out + c * capacity + rows, out + (c + 1) * capacity, uint16_t{0});
  }
}

void RowToF16(const float* in, size_t size, uint16_t* out) { ConvertToF16(in, size, out); }

// out[i] += weight * in[i]
HWY_INLINE void AddScaled(const float* in, float weight, size_t size, float* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto weights = hn::Set(d, weight);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::MulAdd(weights, hn::LoadU(d, in + i), hn::LoadU(d, out + i)), d, out + i);
  }
  const hn::CappedTag<float, 1> one;
  for (; i < size; ++i) {  // fused like the vectors: the cut of the channels must not matter
    const auto sum =
        hn::MulAdd(hn::Set(one, weight), hn::LoadU(one, in + i), hn::LoadU(one, out + i));
    hn::StoreU(sum, one, out + i);
  }
}

// Channels [begin, end) of one row in fp16, from a row or a column.
HWY_INLINE void AddScaledF16(const OutputRow& row, float weight, int64_t begin, int64_t end,
                             float* out) {
  constexpr int64_t kRun = 64;  // chosen: on the stack
  uint16_t halves[kRun];
  float values[kRun];
  const auto* data = static_cast<const uint16_t*>(row.data);
  for (int64_t c = begin; c < end; c += kRun) {
    const int64_t count = std::min(kRun, end - c);
    const uint16_t* run = data + c;
    if (row.layout == OutputRow::Layout::kF16Column) {
      for (int64_t i = 0; i < count; ++i) halves[i] = data[(c + i) * row.stride];
      run = halves;
    }
    ConvertFromF16(run, static_cast<size_t>(count), values);
    AddScaled(values, weight, static_cast<size_t>(count), out + c);
  }
}

// All slots of tokens [first, last), channels [begin, end).
void CombineBlock(std::span<const OutputRow> rows, std::span<const float> weights,
                  int experts_per_token, int64_t first, int64_t last, int64_t begin, int64_t end,
                  const Matrix& residual) {
  for (int64_t i = first * experts_per_token; i < last * experts_per_token; ++i) {
    const OutputRow& row = rows[static_cast<size_t>(i)];
    const float weight = weights[static_cast<size_t>(i)];
    float* out = residual.Row(i / experts_per_token);
    if (row.layout == OutputRow::Layout::kNone) continue;
    if (row.layout == OutputRow::Layout::kF32Row) {
      AddScaled(static_cast<const float*>(row.data) + begin, weight,
                static_cast<size_t>(end - begin), out + begin);
    } else {
      AddScaledF16(row, weight, begin, end, out);
    }
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {
namespace {

HWY_EXPORT(GatherChannels);
HWY_EXPORT(RowToF16);
HWY_EXPORT(CombineBlock);

// Below this many elements one thread is done before another one has woken up (chosen).
constexpr int64_t kMinParallelElements = 1 << 15;
constexpr int64_t kChannelsPerTask = 64;  // a gather tile

// body(begin, end) over [0, count), on the pool when there is enough to do.
template <class Body>
void ForRanges(int64_t count, int64_t quantum, int64_t elements, ThreadPool& pool,
               const Body& body) {
  if (count == 0) return;
  if (elements < kMinParallelElements) return body(0, count);
  pool.ParallelRanges(count, quantum, [&](int64_t begin, int64_t end, int) { body(begin, end); });
}

void CheckGather(ConstMatrix hidden, std::span<const int32_t> assignments, int experts_per_token,
                 int64_t capacity) {
  NPUMOE_CHECK(experts_per_token > 0);
  NPUMOE_CHECK(static_cast<int64_t>(assignments.size()) <= capacity);
  for (const int32_t a : assignments) NPUMOE_CHECK(a >= 0 && a / experts_per_token < hidden.rows);
}

}  // namespace

void GatherRows(ConstMatrix hidden, std::span<const int32_t> assignments, int experts_per_token,
                Matrix out, ThreadPool& pool) {
  const auto rows = static_cast<int64_t>(assignments.size());
  CheckGather(hidden, assignments, experts_per_token, out.rows);
  NPUMOE_CHECK(out.columns == hidden.columns);
  ForRanges(rows, 1, rows * hidden.columns, pool, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* row = hidden.Row(assignments[static_cast<size_t>(r)] / experts_per_token);
      std::copy_n(row, hidden.columns, out.Row(r));
    }
  });
}

void GatherTransposedF16(ConstMatrix hidden, std::span<const int32_t> assignments,
                         int experts_per_token, int64_t capacity, uint16_t* out, ThreadPool& pool) {
  CheckGather(hidden, assignments, experts_per_token, capacity);
  const int64_t blocks = DivideRoundUp(hidden.columns, kChannelsPerTask);
  ForRanges(blocks, 1, capacity * hidden.columns, pool, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kChannelsPerTask;
      const int64_t end = std::min(begin + kChannelsPerTask, hidden.columns);
      HWY_DYNAMIC_DISPATCH(GatherChannels)
      (hidden, assignments, experts_per_token, capacity, begin, end, out);
    }
  });
}

void GatherRowsF16(ConstMatrix hidden, std::span<const int32_t> assignments, int experts_per_token,
                   int64_t capacity, uint16_t* out, ThreadPool& pool) {
  const auto rows = static_cast<int64_t>(assignments.size());
  CheckGather(hidden, assignments, experts_per_token, capacity);
  ForRanges(capacity, 1, capacity * hidden.columns, pool, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      uint16_t* row = out + r * hidden.columns;
      if (r >= rows) {
        std::fill_n(row, hidden.columns, uint16_t{0});
        continue;
      }
      const int32_t token = assignments[static_cast<size_t>(r)] / experts_per_token;
      HWY_DYNAMIC_DISPATCH(RowToF16)
      (hidden.Row(token), static_cast<size_t>(hidden.columns), row);
    }
  });
}

void CombineRows(std::span<const OutputRow> rows, std::span<const float> weights,
                 int experts_per_token, Matrix residual, ThreadPool& pool) {
  NPUMOE_CHECK(rows.size() == static_cast<size_t>(residual.rows * experts_per_token));
  NPUMOE_CHECK(weights.size() == rows.size());
  const auto elements = static_cast<int64_t>(rows.size()) * residual.columns;
  const bool columns = std::any_of(rows.begin(), rows.end(), [](const OutputRow& row) {
    return row.layout == OutputRow::Layout::kF16Column;
  });
  if (!columns) {
    return ForRanges(residual.rows, 1, elements, pool, [&](int64_t first, int64_t last) {
      HWY_DYNAMIC_DISPATCH(CombineBlock)
      (rows, weights, experts_per_token, first, last, 0, residual.columns, residual);
    });
  }
  // Neighbouring columns of an expert's buffer share cache lines: all tokens of a few channels.
  const int64_t blocks = DivideRoundUp(residual.columns, kChannelsPerTask);
  ForRanges(blocks, 1, elements, pool, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kChannelsPerTask;
      const int64_t end = std::min(begin + kChannelsPerTask, residual.columns);
      HWY_DYNAMIC_DISPATCH(CombineBlock)
      (rows, weights, experts_per_token, 0, residual.rows, begin, end, residual);
    }
  });
}

}  // namespace npumoe
#endif
