// One activation row times quantised weights: decoded in registers, multiplied at once. Each sum is
// the sequence of operations that the general path performs on decoded weights (block_product.h),
// so the results have the same bits.
#if defined(NPUMOE_KERNELS_GEMM_QUANTIZED_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NPUMOE_KERNELS_GEMM_QUANTIZED_ROW_INL_H_
#undef NPUMOE_KERNELS_GEMM_QUANTIZED_ROW_INL_H_
#else
#define NPUMOE_KERNELS_GEMM_QUANTIZED_ROW_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/gemm/strips-inl.h"
#include "kernels/quantize/blocks-inl.h"

#if NPUMOE_VECTOR_BLOCKS
HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {

// Weight rows at once, read as that many long streams: as many as it takes for their sums, one
// chain of dependent additions each, to hide the latency of an addition.
inline constexpr int kStreams = 2 * kWeightRows;

// How far ahead the streams are fetched.
inline constexpr int64_t kQuantizedAheadBytes = 1024;

// sum += x * values of a block from run kRun on.
template <class Blocks, int kRun = 0>
HWY_INLINE void AccumulateRuns(const uint8_t* block, const typename Blocks::Scales& scales,
                               const float* x, V& sum) {
  V values[blocks::kRunVectors];
  Blocks::template Decode<kRun>(block, scales, values);
  HWY_UNROLL(8)
  for (int i = 0; i < blocks::kRunVectors; ++i) {
    sum = hn::MulAdd(hn::LoadU(D(), x + i * kLanes), values[i], sum);
  }
  if constexpr (kRun + 1 < Blocks::kRuns) {
    AccumulateRuns<Blocks, kRun + 1>(block, scales, x + blocks::kRunElements, sum);
  }
}

// One step of all streams: a block of each.
template <class Blocks>
HWY_INLINE void AccumulateBlocks(const uint8_t* const (&w)[kStreams], int64_t offset,
                                 const float* x, V (&sums)[kStreams]) {
  HWY_UNROLL(8)
  for (int j = 0; j < kStreams; ++j) {
    const uint8_t* block = w[j] + offset;
    for (int line = 0; line < Blocks::kBytes; line += 64) {
      __builtin_prefetch(block + line + kQuantizedAheadBytes);
    }
    AccumulateRuns<Blocks>(block, Blocks::Open(block), x, sums[j]);
  }
}

struct QuantizedRowProduct {
  const BlockProduct& p;

  template <class Blocks>
  HWY_INLINE void Run() const {
    const int64_t part = DivideRoundUp<int64_t>(p.end - p.begin, kStreams);
    for (int64_t i = 0; i < part; ++i) {
      int64_t n[kStreams];  // past the end the last row stands in and is written again
      for (int j = 0; j < kStreams; ++j) n[j] = std::min(p.begin + j * part + i, p.end - 1);
      MultiplyRows<Blocks>(n);
    }
  }

  template <class Blocks>
  HWY_INLINE void MultiplyRows(const int64_t (&n)[kStreams]) const {
    constexpr int64_t kElements = Blocks::kRuns * blocks::kRunElements;
    const int64_t row_bytes = p.in.columns / kElements * Blocks::kBytes;
    const uint8_t* w[kStreams];
    float results[kStreams];
    for (int j = 0; j < kStreams; ++j) {
      w[j] = reinterpret_cast<const uint8_t*>(p.weight.data) + n[j] * row_bytes;
      results[j] = p.bias == nullptr ? 0.0f : p.bias[n[j]];
    }
    int64_t offset = 0;
    for (int64_t k = 0; k < p.in.columns; k += kColumnsPerBlock) {
      const int64_t end = std::min(k + kColumnsPerBlock, p.in.columns);
      V sums[kStreams];
      for (V& sum : sums) sum = hn::Zero(D());
      for (int64_t at = k; at < end; at += kElements, offset += Blocks::kBytes) {
        AccumulateBlocks<Blocks>(w, offset, p.in.data + at, sums);
      }
      AddSums(sums, k == 0 && p.bias == nullptr, results);
    }
    for (int j = 0; j < kStreams; ++j) p.out.data[n[j] - p.begin] = results[j];
  }

  static HWY_INLINE void AddSums(const V (&sums)[kStreams], bool first, float* results) {
    for (int j = 0; j < kStreams; j += kWeightRows) {
      const V four[kWeightRows] = {sums[j], sums[j + 1], sums[j + 2], sums[j + 3]};
      StoreSums(four, first ? nullptr : results + j, results + j);
    }
  }
};

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();
#endif

#endif
