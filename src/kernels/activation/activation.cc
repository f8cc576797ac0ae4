#include "kernels/activation/activation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/activation.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/activation/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

float SwiGluSpan(const float* up, float* gate, size_t size) {
  return ActivateRow(up, gate, size, SwiGluOp());
}

float ClampedSwiGluSpan(const float* up, float limit, float* gate, size_t size) {
  return ActivateRow(up, gate, size, ClampedSwiGluOp{limit});
}

float MaxOf(const float* values, size_t size) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  V max = hn::Set(d, -std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) max = hn::Max(max, hn::LoadU(d, values + i));
  float largest = hn::GetLane(hn::MaxOfLanes(d, max));
  for (; i < size; ++i) largest = std::max(largest, values[i]);
  return largest;
}

float MagnitudeOf(const float* values, size_t size) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  V max = hn::Zero(d);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) max = hn::Max(max, hn::Abs(hn::LoadU(d, values + i)));
  float largest = hn::GetLane(hn::MaxOfLanes(d, max));
  for (; i < size; ++i) largest = std::max(largest, values[i] < 0 ? -values[i] : values[i]);
  return largest;
}

void SoftmaxSpan(float* values, size_t size) {
  const D d;
  const hn::CappedTag<float, 1> one;
  const size_t lanes = hn::Lanes(d);
  const float max = MaxOf(values, size);
  const V shift = hn::Set(d, max);
  V sums = hn::Zero(d);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const V e = ExpNegative(d, hn::Sub(hn::LoadU(d, values + i), shift));
    hn::StoreU(e, d, values + i);
    sums = hn::Add(sums, e);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < size; ++i) {
    values[i] = hn::GetLane(ExpNegative(one, hn::Set(one, values[i] - max)));
    sum += values[i];
  }
  const V scale = hn::Set(d, sum);
  for (i = 0; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::Div(hn::LoadU(d, values + i), scale), d, values + i);
  }
  for (; i < size; ++i) values[i] /= sum;
}

void AddSpan(const float* other, float* inout, size_t size) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, inout + i), hn::LoadU(d, other + i)), d, inout + i);
  }
  for (; i < size; ++i) inout[i] += other[i];
}

void AddScaledSpan(float factor, const float* other, float* inout, size_t size) {
  const D d;
  const hn::CappedTag<float, 1> one;
  const size_t lanes = hn::Lanes(d);
  const V factors = hn::Set(d, factor);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::MulAdd(hn::LoadU(d, other + i), factors, hn::LoadU(d, inout + i)), d, inout + i);
  }
  for (; i < size; ++i) {
    const auto sum =
        hn::MulAdd(hn::LoadU(one, other + i), hn::Set(one, factor), hn::LoadU(one, inout + i));
    hn::StoreU(sum, one, inout + i);
  }
}

void ScaleSpan(float factor, float* inout, size_t size) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  const V factors = hn::Set(d, factor);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, inout + i), factors), d, inout + i);
  }
  for (; i < size; ++i) inout[i] *= factor;
}

void ClampSpan(float limit, float* inout, size_t size) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  const hn::CappedTag<float, 1> one;
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(ClampKeepingNan(d, hn::LoadU(d, inout + i), -limit, limit), d, inout + i);
  }
  for (; i < size; ++i) {
    hn::StoreU(ClampKeepingNan(one, hn::LoadU(one, inout + i), -limit, limit), one, inout + i);
  }
}

// The exponent of infinity and NaN is all ones: no magnitude, read as an integer, is larger than
// that of a finite number. Four vectors at once, so that memory is the limit.
bool FiniteSpan(const float* values, size_t size) {
  const D d;
  const hn::RebindToSigned<D> bits;
  using Bits = hn::Vec<decltype(bits)>;
  constexpr int32_t kInfinity = 0x7f800000;
  const size_t lanes = hn::Lanes(d);
  const Bits mask = hn::Set(bits, 0x7fffffff);
  const auto magnitude = [&](size_t at) {
    return hn::And(hn::BitCast(bits, hn::LoadU(d, values + at)), mask);
  };
  Bits a = hn::Zero(bits), b = a, c = a, e = a;
  size_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    a = hn::Max(a, magnitude(i));
    b = hn::Max(b, magnitude(i + lanes));
    c = hn::Max(c, magnitude(i + 2 * lanes));
    e = hn::Max(e, magnitude(i + 3 * lanes));
  }
  for (; i + lanes <= size; i += lanes) a = hn::Max(a, magnitude(i));
  const Bits largest = hn::Max(hn::Max(a, b), hn::Max(c, e));
  bool finite = hn::AllTrue(bits, hn::Lt(largest, hn::Set(bits, kInfinity)));
  for (; i < size; ++i) finite &= std::isfinite(values[i]);
  return finite;
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {

HWY_EXPORT(SwiGluSpan);
HWY_EXPORT(ClampedSwiGluSpan);
HWY_EXPORT(SoftmaxSpan);
HWY_EXPORT(MagnitudeOf);
HWY_EXPORT(AddSpan);
HWY_EXPORT(AddScaledSpan);
HWY_EXPORT(ScaleSpan);
HWY_EXPORT(ClampSpan);
HWY_EXPORT(FiniteSpan);

float SwiGlu(std::span<const float> up, std::span<float> gate_inout) {
  NPUMOE_CHECK(up.size() == gate_inout.size());
  return HWY_DYNAMIC_DISPATCH(SwiGluSpan)(up.data(), gate_inout.data(), up.size());
}

float ClampedSwiGlu(std::span<const float> up, float limit, std::span<float> gate_inout) {
  NPUMOE_CHECK(up.size() == gate_inout.size() && limit > 0);
  return HWY_DYNAMIC_DISPATCH(ClampedSwiGluSpan)(up.data(), limit, gate_inout.data(), up.size());
}

void Softmax(std::span<float> values) {
  if (values.empty()) return;
  HWY_DYNAMIC_DISPATCH(SoftmaxSpan)(values.data(), values.size());
}

float MaxMagnitude(std::span<const float> values) {
  return HWY_DYNAMIC_DISPATCH(MagnitudeOf)(values.data(), values.size());
}

bool AllFinite(std::span<const float> values) {
  return HWY_DYNAMIC_DISPATCH(FiniteSpan)(values.data(), values.size());
}

void AddTo(std::span<const float> other, std::span<float> inout) {
  NPUMOE_CHECK(other.size() == inout.size());
  HWY_DYNAMIC_DISPATCH(AddSpan)(other.data(), inout.data(), inout.size());
}

void AddScaled(float factor, std::span<const float> other, std::span<float> inout) {
  NPUMOE_CHECK(other.size() == inout.size());
  HWY_DYNAMIC_DISPATCH(AddScaledSpan)(factor, other.data(), inout.data(), inout.size());
}

void Scale(float factor, std::span<float> inout) {
  HWY_DYNAMIC_DISPATCH(ScaleSpan)(factor, inout.data(), inout.size());
}

void Clamp(float limit, std::span<float> inout) {
  NPUMOE_CHECK(limit >= 0);
  HWY_DYNAMIC_DISPATCH(ClampSpan)(limit, inout.data(), inout.size());
}

}  // namespace npumoe
#endif
