// fp32 <-> fp16 and bfloat16 on runs of elements, for kernels that convert as they go.
#if defined(NPUMOE_KERNELS_CONVERT_CONVERT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NPUMOE_KERNELS_CONVERT_CONVERT_INL_H_
#undef NPUMOE_KERNELS_CONVERT_CONVERT_INL_H_
#else
#define NPUMOE_KERNELS_CONVERT_CONVERT_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The emulated targets of Highway 1.0.3 do not round to nearest even: they use base/dtype.h.
#undef NPUMOE_VECTOR_F16
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
#define NPUMOE_VECTOR_F16 0
#else
#define NPUMOE_VECTOR_F16 1
#endif

HWY_INLINE void ConvertToF16(const float* in, size_t size, uint16_t* out) {
  size_t i = 0;
#if NPUMOE_VECTOR_F16
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> half;
  const size_t lanes = hn::Lanes(d);
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::DemoteTo(half, hn::LoadU(d, in + i)), half,
               reinterpret_cast<hwy::float16_t*>(out + i));
  }
#endif
  for (; i < size; ++i) out[i] = F16FromF32(in[i]);
}

HWY_INLINE void ConvertFromF16(const uint16_t* in, size_t size, float* out) {
  size_t i = 0;
#if NPUMOE_VECTOR_F16
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> half;
  const size_t lanes = hn::Lanes(d);
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(in + i))),
               d, out + i);
  }
#endif
  for (; i < size; ++i) out[i] = F32FromF16(in[i]);
}

HWY_INLINE void ConvertFromBF16(const uint16_t* in, size_t size, float* out) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> words;
  const hn::Rebind<uint16_t, decltype(d)> half;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto wide = hn::PromoteTo(words, hn::LoadU(half, in + i));
    hn::StoreU(hn::BitCast(d, hn::ShiftLeft<16>(wide)), d, out + i);
  }
  for (; i < size; ++i) out[i] = F32FromBF16(in[i]);
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#endif
