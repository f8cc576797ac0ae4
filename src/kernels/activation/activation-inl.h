// silu(gate) * up on vectors, for kernels that activate what they have just computed.
#if defined(NPUMOE_KERNELS_ACTIVATION_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NPUMOE_KERNELS_ACTIVATION_ACTIVATION_INL_H_
#undef NPUMOE_KERNELS_ACTIVATION_ACTIVATION_INL_H_
#else
#define NPUMOE_KERNELS_ACTIVATION_ACTIVATION_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// exp(x) for x <= 88 (no infinity); below the range of floats it is 0, also for -infinity.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpNegative(D d, V x) {
  return hn::Exp(d, hn::Max(x, hn::Set(d, -1000.0f)));
}

// x / (1 + exp(-x)). The argument is clamped so that exp stays finite; beyond the clamp the exact
// result is smaller than any normal float.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Silu(D d, V x) {
  const V e = hn::Exp(d, hn::Min(hn::Neg(x), hn::Set(d, 88.0f)));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), e));
}

// gate[i] = silu(gate[i]) * up[i]; returns the largest magnitude.
HWY_INLINE float SwiGluRow(const float* up, float* gate, size_t size) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto max = hn::Zero(d);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto y = hn::Mul(Silu(d, hn::LoadU(d, gate + i)), hn::LoadU(d, up + i));
    hn::StoreU(y, d, gate + i);
    max = hn::Max(max, hn::Abs(y));
  }
  float largest = hn::GetLane(hn::MaxOfLanes(d, max));
  const hn::CappedTag<float, 1> one;
  for (; i < size; ++i) {
    const auto y = hn::Mul(Silu(one, hn::LoadU(one, gate + i)), hn::LoadU(one, up + i));
    hn::StoreU(y, one, gate + i);
    largest = std::max(largest, hn::GetLane(hn::Abs(y)));
  }
  return largest;
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#endif
