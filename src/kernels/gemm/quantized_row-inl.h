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

// How far ahead the rows are fetched. Measured on Zen 5, two threads, share of the read bandwidth
// for Q8_0: 0.86 with 512 B, 0.96 with 1 kB, 0.99 with 2 kB. Twice as many rows at once gave 0.90.
inline constexpr int64_t kQuantizedAheadBytes = 2048;

// sum += x * values of a step of a block, from run kRun on.
template <class Blocks, int kRun = 0>
HWY_INLINE void AccumulateRuns(const uint8_t* block, const typename Blocks::Scales& scales,
                               int step, const float* x, V& sum) {
  V values[blocks::kRunVectors];
  Blocks::template Decode<kRun>(block, scales, step, values);
  HWY_UNROLL(8)
  for (int i = 0; i < blocks::kRunVectors; ++i) {
    sum = hn::MulAdd(hn::LoadU(D(), x + i * kLanes), values[i], sum);
  }
  if constexpr (kRun + 1 < Blocks::kStepRuns) {
    AccumulateRuns<Blocks, kRun + 1>(block, scales, step, x + blocks::kRunElements, sum);
  }
}

// The next block of every row, step by step, so that the rows share the activations in
// registers.
template <class Blocks>
HWY_INLINE void AccumulateNextBlock(const uint8_t* const (&w)[kWeightRows], int64_t offset,
                                    const float* x, V (&sums)[kWeightRows]) {
  if constexpr (Blocks::kSteps == 1) {
    HWY_UNROLL(8)
    for (int j = 0; j < kWeightRows; ++j) {
      AccumulateRuns<Blocks>(w[j] + offset, Blocks::Open(w[j] + offset), 0, x, sums[j]);
    }
  } else {
    typename Blocks::Scales scales[kWeightRows];
    for (int j = 0; j < kWeightRows; ++j) scales[j] = Blocks::Open(w[j] + offset);
    for (int step = 0; step < Blocks::kSteps; ++step) {
      HWY_UNROLL(8)
      for (int j = 0; j < kWeightRows; ++j) {
        AccumulateRuns<Blocks>(w[j] + offset, scales[j], step, x, sums[j]);
      }
      x += Blocks::kStepRuns * blocks::kRunElements;
    }
  }
}

// `count` blocks of every row.
template <class Blocks>
HWY_INLINE void AccumulateBlocks(const uint8_t* const (&w)[kWeightRows], int64_t offset,
                                 int64_t count, const float* x, V (&sums)[kWeightRows]) {
  for (int64_t i = 0; i < count; ++i) {
    HWY_UNROLL(8)
    for (int j = 0; j < kWeightRows; ++j) {
      for (int line = 0; line < Blocks::kBytes; line += 64) {
        __builtin_prefetch(w[j] + offset + line + kQuantizedAheadBytes);
      }
    }
    AccumulateNextBlock<Blocks>(w, offset, x, sums);
    offset += Blocks::kBytes;
    x += blocks::kElementsOf<Blocks>;
  }
}

struct QuantizedRowProduct {
  const BlockProduct& p;

  template <class Blocks>
  HWY_INLINE void Run() const {
    const int64_t quarter = DivideRoundUp<int64_t>(p.end - p.begin, kWeightRows);
    for (int64_t i = 0; i < quarter; ++i) {
      int64_t n[kWeightRows];  // past the end the last row stands in and is written again
      for (int j = 0; j < kWeightRows; ++j) n[j] = std::min(p.begin + j * quarter + i, p.end - 1);
      MultiplyRows<Blocks>(n);
    }
  }

  template <class Blocks>
  HWY_NOINLINE void MultiplyRows(const int64_t (&n)[kWeightRows]) const {
    constexpr int64_t kElements = blocks::kElementsOf<Blocks>;
    const int64_t row_bytes = p.in.columns / kElements * Blocks::kBytes;
    const uint8_t* w[kWeightRows];
    float results[kWeightRows];
    for (int j = 0; j < kWeightRows; ++j) {
      w[j] = reinterpret_cast<const uint8_t*>(p.weight.data) + n[j] * row_bytes;
      results[j] = p.bias == nullptr ? 0.0f : p.bias[n[j]];
    }
    int64_t offset = 0;
    for (int64_t k = 0; k < p.in.columns; k += kColumnsPerBlock) {
      const int64_t end = std::min(k + kColumnsPerBlock, p.in.columns);
      V sums[kWeightRows];
      for (V& sum : sums) sum = hn::Zero(D());
      const int64_t count = (end - k) / kElements;
      AccumulateBlocks<Blocks>(w, offset, count, p.in.data + k, sums);
      offset += count * Blocks::kBytes;
      StoreSums(sums, k == 0 && p.bias == nullptr ? nullptr : results, results);
    }
    for (int j = 0; j < kWeightRows; ++j) p.out.data[n[j] - p.begin] = results[j];
  }
};

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();
#endif

#endif
