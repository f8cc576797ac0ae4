#include "kernels/norm/layer_norm.h"

#include <cmath>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "kernels/convert/convert.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/layer_norm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;

float MeanOf(const float* in, size_t size) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  size_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    sum0 = hn::Add(sum0, hn::LoadU(d, in + i));
    sum1 = hn::Add(sum1, hn::LoadU(d, in + i + lanes));
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; i < size; ++i) sum += in[i];
  return sum / static_cast<float>(size);
}

// Mean of (in - mean)^2: a second pass, because mean(in^2) - mean^2 cancels.
float VarianceOf(const float* in, float mean, size_t size) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  const auto means = hn::Set(d, mean);
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  size_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    const auto x0 = hn::Sub(hn::LoadU(d, in + i), means);
    const auto x1 = hn::Sub(hn::LoadU(d, in + i + lanes), means);
    sum0 = hn::MulAdd(x0, x0, sum0);
    sum1 = hn::MulAdd(x1, x1, sum1);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; i < size; ++i) sum += (in[i] - mean) * (in[i] - mean);
  return sum / static_cast<float>(size);
}

void NormRow(const float* in, const float* weight, const float* bias, float eps, size_t size,
             float* out) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  const float mean = MeanOf(in, size);
  const float scale = 1.0f / std::sqrt(VarianceOf(in, mean, size) + eps);
  const auto means = hn::Set(d, mean);
  const auto scales = hn::Set(d, scale);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto scaled = hn::Mul(hn::Sub(hn::LoadU(d, in + i), means), scales);
    hn::StoreU(hn::MulAdd(scaled, hn::LoadU(d, weight + i), hn::LoadU(d, bias + i)), d, out + i);
  }
  for (; i < size; ++i) out[i] = (in[i] - mean) * scale * weight[i] + bias[i];
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {

HWY_EXPORT(NormRow);

namespace {

// Below this many elements one thread is done before another one has woken up (chosen).
constexpr int64_t kMinParallelElements = 1 << 15;

}  // namespace

void LayerNorm(ConstMatrix in, const TensorView& weight, const TensorView& bias, float eps,
               Matrix out, ThreadPool& pool) {
  NPUMOE_CHECK(in.rows == out.rows && in.columns == out.columns && in.columns > 0);
  NPUMOE_CHECK(weight.shape.elements() == in.columns && bias.shape.elements() == in.columns);
  const auto size = static_cast<size_t>(in.columns);
  thread_local AlignedBuffer<float> scratch;
  scratch.EnsureSize(2 * size);
  float* const weights = scratch.data();
  float* const biases = scratch.data() + size;
  ToF32(weight, 0, {weights, size});
  ToF32(bias, 0, {biases, size});
  const auto body = [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      HWY_DYNAMIC_DISPATCH(NormRow)(in.Row(r), weights, biases, eps, size, out.Row(r));
    }
  };
  if (in.rows * in.columns < kMinParallelElements) return body(0, in.rows, 0);
  pool.ParallelRanges(in.rows, 1, body);
}

}  // namespace npumoe
#endif
