// Consecutive blocks to fp32 in memory, for kernels that decode a panel.
#if defined(NPUMOE_KERNELS_QUANTIZE_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NPUMOE_KERNELS_QUANTIZE_DECODE_INL_H_
#undef NPUMOE_KERNELS_QUANTIZE_DECODE_INL_H_
#else
#define NPUMOE_KERNELS_QUANTIZE_DECODE_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/quantize/blocks-inl.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {

#if NPUMOE_VECTOR_BLOCKS
namespace blocks {

template <class Blocks, int kRun = 0>
HWY_INLINE void StoreStep(const uint8_t* block, const typename Blocks::Scales& scales, int step,
                          float* out) {
  V values[kRunVectors];
  Blocks::template Decode<kRun>(block, scales, step, values);
  for (int i = 0; i < kRunVectors; ++i) hn::StoreU(values[i], D(), out + i * kLanes);
  if constexpr (kRun + 1 < Blocks::kStepRuns) {
    StoreStep<Blocks, kRun + 1>(block, scales, step, out + kRunElements);
  }
}

struct DecodeAction {
  const uint8_t* block;
  float* out;
  size_t size;

  template <class Blocks>
  HWY_INLINE void Run() const {
    constexpr size_t kElements = kElementsOf<Blocks>;
    const uint8_t* next = block;
    for (size_t i = 0; i < size; i += kElements, next += Blocks::kBytes) {
      const typename Blocks::Scales scales = Blocks::Open(next);
      for (int step = 0; step < Blocks::kSteps; ++step) {
        StoreStep<Blocks>(next, scales, step, out + i + step * Blocks::kStepRuns * kRunElements);
      }
    }
  }
};

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace blocks
#endif

// out[0, size) from whole blocks at `block`.
inline void DecodeRow(DType dtype, const std::byte* block, float* out, size_t size) {
#if NPUMOE_VECTOR_BLOCKS
  const auto* bytes = reinterpret_cast<const uint8_t*>(block);
  blocks::ForBlocksOf(dtype, blocks::DecodeAction{bytes, out, size});
#else
  const auto elements = static_cast<size_t>(BlockElements(dtype));
  for (size_t i = 0; i < size; i += elements, block += BlockBytes(dtype)) {
    DecodeBlock(dtype, block, out + i);
  }
#endif
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#endif
