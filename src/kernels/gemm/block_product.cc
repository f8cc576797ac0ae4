#include "kernels/gemm/block_product.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/gemm/prefetch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/block_product.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/gemm/micro_kernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {

// Measured on Zen 5 (48 KB L1): six packed rows of one block, 24 KB, stay in the L1 cache beside
// the weights that stream through it; the transposing sum costs 78 instructions per 1536 FMAs.
constexpr int64_t kColumnsPerBlock = 1024;

// Weight rows of a block: with few activation rows the memory behind the weights matters, and the
// first block of a call is not fetched ahead, so it is small; with many rows a strip of
// activations is fetched once per block, so the block is larger. Both stay in a 512 KB L2 cache.
constexpr int64_t kWeightsPerBlockFewRows = 32;
constexpr int64_t kWeightsPerBlockManyRows = 128;
constexpr int64_t kFewRows = 96;

// How far one activation row asks ahead. Measured on Zen 5, one thread, share of the read
// bandwidth: 0.74 without, 0.83 with 1 kB, 0.78 with 4 kB, 0.74 with 16 kB.
constexpr int64_t kAheadBytes = 1024;

// One block of weights: rows [begin, end), columns [k, k + columns).
struct Block {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t k = 0;
  int64_t columns = 0;
};

// Up to Weights::kMaxRows activation rows that meet a block, and what to fetch meanwhile.
struct Strip {
  int64_t row = 0;
  int rows = 0;
  GradualPrefetch* next_block = nullptr;
  GradualPrefetch next_strip;
};

// Adds one tile's sums to the outputs [n, n + kWeightRows) of a row, or starts them.
HWY_INLINE void FinishRow(const BlockProduct& p, int64_t row, int64_t n, bool first,
                          const V (&acc)[kWeightRows]) {
  float* out = p.out.Row(row) + (n - p.begin);
  const float* initial = first ? (p.bias == nullptr ? nullptr : p.bias + n) : out;
  const int64_t valid = p.end - n;
  if (valid >= kWeightRows) return StoreSums(acc, initial, out);
  float padded[kWeightRows] = {};
  if (initial != nullptr) std::copy_n(initial, valid, padded);
  StoreSums(acc, padded, padded);
  std::copy_n(padded, valid, out);
}

template <class Weights, int kRows>
HWY_NOINLINE void MultiplyStrip(const BlockProduct& p, const Block& block, Strip& strip) {
  using Element = typename Weights::Element;
  const float* x = p.in.data + strip.row * p.in.stride + block.k;
  const Element* weights = reinterpret_cast<const Element*>(p.weight.data) + block.k;
  for (int64_t n = block.begin; n < block.end; n += kWeightRows) {
    strip.next_block->Next();
    strip.next_strip.Next();
    const Element* w[kWeightRows];
    // Past the end the last row stands in; its results are not stored.
    for (int j = 0; j < kWeightRows; ++j) {
      w[j] = weights + std::min(n + j, block.end - 1) * p.in.columns;
    }
    V acc[kRows][kWeightRows];
    MultiplyTile<Weights, kRows>(x, p.in.stride, w, block.columns, acc);
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) FinishRow(p, strip.row + r, n, block.k == 0, acc[r]);
  }
}

template <class Weights, int kRows>
void MultiplyStripOf(const BlockProduct& p, const Block& block, Strip& strip) {
  if (strip.rows == kRows) return MultiplyStrip<Weights, kRows>(p, block, strip);
  if constexpr (kRows > 1) MultiplyStripOf<Weights, kRows - 1>(p, block, strip);
}

MemoryBlock WeightsOf(const BlockProduct& p, const Block& block) {
  const auto bytes = static_cast<int64_t>(BytesPerElement(p.weight.dtype));
  const int64_t stride = p.in.columns * bytes;
  return {p.weight.data + block.begin * stride + block.k * bytes, block.end - block.begin,
          block.columns * bytes, stride};
}

// Strips are as equal as possible: 33 rows in strips of up to six are 5, 5, 5, 6, 6, 6 rather
// than 6, 6, 6, 6, 6, 3.
template <class Weights>
void MultiplyBlockOf(const BlockProduct& p, const Block& block, const Block& next) {
  const int64_t strips = DivideRoundUp<int64_t>(p.in.rows, Weights::kMaxRows);
  const int64_t tiles = DivideRoundUp<int64_t>(block.end - block.begin, kWeightRows);
  const auto first_row = [&](int64_t strip) { return p.in.rows * strip / strips; };
  GradualPrefetch next_block;
  if (p.in.rows <= kFewRows) next_block = {WeightsOf(p, next), strips * tiles};
  for (int64_t i = 0; i < strips; ++i) {
    Strip strip{first_row(i), static_cast<int>(first_row(i + 1) - first_row(i)), &next_block, {}};
    if (p.in.rows > kFewRows && i + 1 < strips) {
      const MemoryBlock rows{p.in.data + first_row(i + 1) * p.in.stride + block.k,
                             first_row(i + 2) - first_row(i + 1),
                             block.columns * static_cast<int64_t>(sizeof(float)),
                             p.in.stride * static_cast<int64_t>(sizeof(float))};
      strip.next_strip = {rows, tiles};
    }
    MultiplyStripOf<Weights, Weights::kMaxRows>(p, block, strip);
  }
}

// The block after `block`: along the columns first. Empty after the last one.
Block NextBlock(const BlockProduct& p, const Block& block, int64_t weights_per_block) {
  Block next = block;
  next.k += block.columns;
  if (next.k >= p.in.columns) {
    next.k = 0;
    next.begin = block.end;
    next.end = std::min(next.begin + weights_per_block, p.end);
  }
  next.columns = std::min(kColumnsPerBlock, p.in.columns - next.k);
  return next;
}

template <class Weights>
void MultiplyBlocksOf(const BlockProduct& p) {
  // One strip reads weight rows from end to end, as memory likes it.
  const int64_t weights = p.in.rows <= Weights::kMaxRows ? kWeightRows
                          : p.in.rows <= kFewRows        ? kWeightsPerBlockFewRows
                                                         : kWeightsPerBlockManyRows;
  Block block{p.begin, std::min(p.begin + weights, p.end), 0,
              std::min(kColumnsPerBlock, p.in.columns)};
  while (block.begin < p.end) {
    const Block next = NextBlock(p, block, weights);
    MultiplyBlockOf<Weights>(p, block, next);
    block = next;
  }
}

// One activation row: bound by memory, so the weights are read as kWeightRows long streams, each
// through a quarter of the weight rows in order, as hardware prefetchers like it. Sums block by
// block like the general path, so the results have the same bits.
template <class Weights>
void MultiplyRowOf(const BlockProduct& p) {
  using Element = typename Weights::Element;
  const Element* weights = reinterpret_cast<const Element*>(p.weight.data);
  const int64_t quarter = DivideRoundUp<int64_t>(p.end - p.begin, kWeightRows);
  for (int64_t i = 0; i < quarter; ++i) {
    int64_t n[kWeightRows];  // past the end the last row stands in and is written again
    float sums[kWeightRows];
    for (int j = 0; j < kWeightRows; ++j) {
      n[j] = std::min(p.begin + j * quarter + i, p.end - 1);
      sums[j] = p.bias == nullptr ? 0.0f : p.bias[n[j]];
    }
    for (int64_t k = 0; k < p.in.columns; k += kColumnsPerBlock) {
      const Element* w[kWeightRows];
      for (int j = 0; j < kWeightRows; ++j) w[j] = weights + n[j] * p.in.columns + k;
      V acc[1][kWeightRows];
      MultiplyTile<Weights, 1>(p.in.data + k, p.in.stride, w,
                               std::min(kColumnsPerBlock, p.in.columns - k), acc, kAheadBytes);
      StoreSums(acc[0], k == 0 && p.bias == nullptr ? nullptr : sums, sums);
    }
    for (int j = 0; j < kWeightRows; ++j) p.out.data[n[j] - p.begin] = sums[j];
  }
}

template <class Weights>
void MultiplyOf(const BlockProduct& p) {
  if (p.in.rows == 1) return MultiplyRowOf<Weights>(p);
  MultiplyBlocksOf<Weights>(p);
}

void MultiplyAnyBlock(const BlockProduct& p) {
  switch (p.weight.dtype) {
    case DType::kF32:
      return MultiplyOf<F32Weights>(p);
    case DType::kF16:
      return MultiplyOf<F16Weights>(p);
    default:
      return MultiplyOf<BF16Weights>(p);
  }
}

// One step of two vectors: even columns, then odd ones.
HWY_INLINE void PackPair(const float* in, float* out) {
#if HWY_TARGET == HWY_SCALAR
  out[0] = in[0];
#else
  const D d;
  const V low = hn::LoadU(d, in);
  const V high = hn::LoadU(d, in + kLanes);
  hn::StoreU(hn::ConcatEven(d, high, low), d, out);
  hn::StoreU(hn::ConcatOdd(d, high, low), d, out + kLanes);
#endif
}

void PackEvenOdd(const float* in, int64_t columns, float* out) {
  constexpr int64_t step = kStep<BF16Weights>;
  int64_t k = 0;
  for (; k + step <= columns; k += step) PackPair(in + k, out + k);
  if (k == columns) return;
  float padded[kStep<BF16Weights>] = {};
  std::copy(in + k, in + columns, padded);
  PackPair(padded, out + k);
}

void PackAnyRow(const float* in, int64_t columns, bool pairs, float* out) {
  std::fill(out + columns / kPackQuantum * kPackQuantum, out + PackedStride(columns), 0.0f);
  if (pairs) return PackEvenOdd(in, columns, out);
  std::copy_n(in, columns, out);
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {

HWY_EXPORT(MultiplyAnyBlock);
HWY_EXPORT(PackAnyRow);

void PackRows(ConstMatrix in, DType weight_dtype, float* packed, int64_t packed_stride) {
  NPUMOE_CHECK(packed_stride >= PackedStride(in.columns));
  const bool pairs = weight_dtype == DType::kBF16;
  for (int64_t r = 0; r < in.rows; ++r) {
    HWY_DYNAMIC_DISPATCH(PackAnyRow)(in.Row(r), in.columns, pairs, packed + r * packed_stride);
  }
}

void MultiplyBlock(const BlockProduct& p) {
  const DType dtype = p.weight.dtype;
  NPUMOE_CHECK(dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16);
  NPUMOE_CHECK(p.weight.shape.rank() == 2 && p.weight.shape[1] == p.in.columns);
  NPUMOE_CHECK(0 <= p.begin && p.end <= p.weight.shape[0]);
  if (p.in.rows == 0 || p.begin >= p.end) return;
  NPUMOE_CHECK(p.in.columns > 0);
  HWY_DYNAMIC_DISPATCH(MultiplyAnyBlock)(p);
}

}  // namespace npumoe
#endif
