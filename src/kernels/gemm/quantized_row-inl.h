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

// sum += x * values of a step of a block, from run kRun on.
template <class Blocks, int kRun = 0>
HWY_INLINE void AccumulateStep(const uint8_t* block, const typename Blocks::Scales& scales,
                               int step, const float* x, V& sum) {
  V values[blocks::kRunVectors];
  Blocks::template Decode<kRun>(block, scales, step, values);
  HWY_UNROLL(8)
  for (int i = 0; i < blocks::kRunVectors; ++i) {
    sum = hn::MulAdd(hn::LoadU(D(), x + i * kLanes), values[i], sum);
  }
  if constexpr (kRun + 1 < Blocks::kStepRuns) {
    AccumulateStep<Blocks, kRun + 1>(block, scales, step, x + blocks::kRunElements, sum);
  }
}

// The next block of every stream, step by step, so that the streams share the activations in
// registers.
template <class Blocks>
HWY_INLINE void AccumulateSteps(const uint8_t* const (&w)[kStreams], int64_t offset, const float* x,
                                V (&sums)[kStreams]) {
  if constexpr (Blocks::kSteps == 1) {
    HWY_UNROLL(8)
    for (int j = 0; j < kStreams; ++j) {
      AccumulateStep<Blocks>(w[j] + offset, Blocks::Open(w[j] + offset), 0, x, sums[j]);
    }
  } else {
    typename Blocks::Scales scales[kStreams];
    for (int j = 0; j < kStreams; ++j) scales[j] = Blocks::Open(w[j] + offset);
    for (int step = 0; step < Blocks::kSteps; ++step) {
      HWY_UNROLL(8)
      for (int j = 0; j < kStreams; ++j) {
        AccumulateStep<Blocks>(w[j] + offset, scales[j], step, x, sums[j]);
      }
      x += Blocks::kStepRuns * blocks::kRunElements;
    }
  }
}

// `count` blocks of every stream.
template <class Blocks>
HWY_INLINE void AccumulateBlocks(const uint8_t* const (&w)[kStreams], int64_t offset, int64_t count,
                                 const float* x, V (&sums)[kStreams]) {
  for (int64_t i = 0; i < count; ++i) {
    HWY_UNROLL(8)
    for (int j = 0; j < kStreams; ++j) {
      for (int line = 0; line < Blocks::kBytes; line += 64) {
        __builtin_prefetch(w[j] + offset + line + kQuantizedAheadBytes);
      }
    }
    AccumulateSteps<Blocks>(w, offset, x, sums);
    offset += Blocks::kBytes;
    x += blocks::kElementsOf<Blocks>;
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
  HWY_NOINLINE void MultiplyRows(const int64_t (&n)[kStreams]) const {
    constexpr int64_t kElements = blocks::kElementsOf<Blocks>;
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
      const int64_t count = (end - k) / kElements;
      AccumulateBlocks<Blocks>(w, offset, count, p.in.data + k, sums);
      offset += count * Blocks::kBytes;
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
