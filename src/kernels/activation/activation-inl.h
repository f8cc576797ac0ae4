// Gated activations on vectors, for kernels that activate what they have just computed.
#if defined(NPUMOE_KERNELS_ACTIVATION_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NPUMOE_KERNELS_ACTIVATION_ACTIVATION_INL_H_
#undef NPUMOE_KERNELS_ACTIVATION_ACTIVATION_INL_H_
#else
#define NPUMOE_KERNELS_ACTIVATION_ACTIVATION_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <limits>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/activation/activation.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// exp(x) for x <= 88 (no infinity); below the range of floats it is 0, also for -infinity. NaN
// stays NaN, so that broken weights show: Max and hn::Exp would make a number of it.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpNegative(D d, V x) {
  const V e = hn::Exp(d, hn::Max(x, hn::Set(d, -1000.0f)));
  return hn::IfThenElse(hn::Eq(x, x), e, x);
}

// x / (1 + exp(-x)). The argument is clamped so that exp stays finite; beyond the clamp the exact
// result is smaller than any normal float.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Silu(D d, V x) {
  const V e = hn::Exp(d, hn::Min(hn::Neg(x), hn::Set(d, 88.0f)));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), e));
}

// gate[i] = activate(gate[i], up[i]); returns the largest magnitude. The tail runs on single lanes
// with the same operations, so an element's bits do not depend on its place.
template <class Activate>
HWY_INLINE float ActivateRow(const float* up, float* gate, size_t size, const Activate& activate) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto max = hn::Zero(d);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto y = activate(d, hn::LoadU(d, gate + i), hn::LoadU(d, up + i));
    hn::StoreU(y, d, gate + i);
    max = hn::Max(max, hn::Abs(y));
  }
  float largest = hn::GetLane(hn::MaxOfLanes(d, max));
  const hn::CappedTag<float, 1> one;
  for (; i < size; ++i) {
    const auto y = activate(one, hn::LoadU(one, gate + i), hn::LoadU(one, up + i));
    hn::StoreU(y, one, gate + i);
    largest = std::max(largest, hn::GetLane(hn::Abs(y)));
  }
  return largest;
}

struct SwiGluOp {
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V operator()(D d, V gate, V up) const {
    return hn::Mul(Silu(d, gate), up);
  }
};

// min(max(x, low), high); NaN stays NaN, which Max and Min promise on no target.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ClampKeepingNan(D d, V x, float low, float high) {
  const V clamped = hn::Min(hn::Max(x, hn::Set(d, low)), hn::Set(d, high));
  return hn::IfThenElse(hn::Eq(x, x), clamped, x);
}

// (clamp(up, -limit, limit) + 1) * g / (1 + exp(-kClampedSlope g)), g = min(gate, limit).
struct ClampedSwiGluOp {
  float limit;
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V operator()(D d, V gate, V up) const {
    const V g = ClampKeepingNan(d, gate, -std::numeric_limits<float>::infinity(), limit);
    const V u = ClampKeepingNan(d, up, -limit, limit);
    const V x = hn::Min(hn::Mul(g, hn::Set(d, -kClampedSlope)), hn::Set(d, 88.0f));
    const V swish = hn::Div(g, hn::Add(hn::Set(d, 1.0f), hn::Exp(d, x)));
    return hn::Mul(hn::Add(u, hn::Set(d, 1.0f)), swish);
  }
};

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#endif
