#include "kernels/gemm/block_product.h"

#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "kernels/gemm/prefetch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/block_product.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/gemm/quantized_row-inl.h"
#include "kernels/gemm/strips-inl.h"
#include "kernels/quantize/decode-inl.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {

// Weight rows of a block: with few activation rows the memory behind the weights matters, and the
// first block of a call is not fetched ahead, so it is small; with many rows a strip of
// activations is fetched once per block, so the block is larger. Both stay in a 512 KB L2 cache,
// except the larger one of quantised weights, 512 KB when decoded. Measured on Zen 5 (1 MB L2),
// 512 rows of Q4_K, share of the rate of BF16: 0.90 with 64 weight rows, 0.94 with 96, 0.96 with
// 128 and with 192.
constexpr int64_t kWeightsPerBlockFewRows = 32;
constexpr int64_t kWeightsPerBlockManyRows = 128;

// How far one activation row asks ahead. Measured on Zen 5, one thread, share of the read
// bandwidth: 0.74 without, 0.83 with 1 kB, 0.78 with 4 kB, 0.74 with 16 kB.
constexpr int64_t kAheadBytes = 1024;

// The block as the file holds it.
MemoryBlock WeightsOf(const BlockProduct& p, const Block& block) {
  const auto stride = static_cast<int64_t>(BytesOf(p.weight.dtype, p.in.columns));
  const auto offset = static_cast<int64_t>(BytesOf(p.weight.dtype, block.k));
  return {p.weight.data + block.begin * stride + offset, block.end - block.begin,
          static_cast<int64_t>(BytesOf(p.weight.dtype, block.columns)), stride};
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

Block FirstBlock(const BlockProduct& p, int64_t weights_per_block) {
  return {p.begin, std::min(p.begin + weights_per_block, p.end), 0,
          std::min(kColumnsPerBlock, p.in.columns)};
}

// One strip reads weight rows from end to end, as memory likes it.
int64_t WeightsPerBlock(const BlockProduct& p, int64_t rows_of_strip) {
  if (p.in.rows <= rows_of_strip) return kWeightRows;
  return p.in.rows <= kFewRows ? kWeightsPerBlockFewRows : kWeightsPerBlockManyRows;
}

template <class Weights>
void MultiplyBlocksOf(const BlockProduct& p) {
  const int64_t weights = WeightsPerBlock(p, Weights::kMaxRows);
  Block block = FirstBlock(p, weights);
  while (block.begin < p.end) {
    const Block next = NextBlock(p, block, weights);
    MultiplyBlockOf<Weights>(p, block, WeightsOf(p, block), WeightsOf(p, next));
    block = next;
  }
}

// Decodes the block into `panel`. Rows are one cache line more than a block apart, so that those
// of a tile do not meet in the same sets of the L1 cache.
MemoryBlock DecodeBlockOf(const BlockProduct& p, const Block& block, AlignedBuffer<float>& panel) {
  constexpr int64_t kStride = kColumnsPerBlock + 16;
  const MemoryBlock source = WeightsOf(p, block);
  panel.EnsureSize(static_cast<size_t>(source.rows * kStride));
  for (int64_t row = 0; row < source.rows; ++row) {
    DecodeRow(p.weight.dtype,
              static_cast<const std::byte*>(source.data) + row * source.stride_bytes,
              panel.data() + row * kStride, static_cast<size_t>(block.columns));
  }
  constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));
  return {panel.data(), source.rows, block.columns * kFloatBytes, kStride * kFloatBytes};
}

// Quantised weights: each block is decoded once, into memory that stays in the cache, and meets
// all activation rows there.
void MultiplyQuantizedBlocks(const BlockProduct& p) {
  thread_local AlignedBuffer<float> panel;
  const int64_t weights = WeightsPerBlock(p, F32Weights::kMaxRows);
  Block block = FirstBlock(p, weights);
  while (block.begin < p.end) {
    const Block next = NextBlock(p, block, weights);
    MultiplyBlockOf<F32Weights>(p, block, DecodeBlockOf(p, block, panel), WeightsOf(p, next));
    block = next;
  }
}

void MultiplyQuantized(const BlockProduct& p) {
#if NPUMOE_VECTOR_BLOCKS
  if (p.in.rows == 1) return blocks::ForBlocksOf(p.weight.dtype, QuantizedRowProduct{p});
#endif
  MultiplyQuantizedBlocks(p);
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
    case DType::kBF16:
      return MultiplyOf<BF16Weights>(p);
    default:
      return MultiplyQuantized(p);
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
  NPUMOE_CHECK(dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
               IsQuantized(dtype));
  NPUMOE_CHECK(p.weight.shape.rank() == 2 && p.weight.shape[1] == p.in.columns);
  NPUMOE_CHECK(0 <= p.begin && p.end <= p.weight.shape[0]);
  if (p.in.rows == 0 || p.begin >= p.end) return;
  NPUMOE_CHECK(p.in.columns > 0 && p.in.columns % BlockElements(dtype) == 0);
  HWY_DYNAMIC_DISPATCH(MultiplyAnyBlock)(p);
}

}  // namespace npumoe
#endif
