#include "kernels/norm/rms_norm.h"

#include <cmath>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "kernels/convert/convert.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/rms_norm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;

float SumOfSquares(const float* in, size_t size) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  size_t i = 0;
  for (; i + 2 * lanes <= size; i += 2 * lanes) {
    const auto x0 = hn::LoadU(d, in + i);
    const auto x1 = hn::LoadU(d, in + i + lanes);
    sum0 = hn::MulAdd(x0, x0, sum0);
    sum1 = hn::MulAdd(x1, x1, sum1);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; i < size; ++i) sum += in[i] * in[i];
  return sum;
}

void ScaleRow(const float* in, const float* weight, float scale, size_t size, float* out) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  const auto scales = hn::Set(d, scale);
  size_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto scaled = hn::Mul(hn::LoadU(d, in + i), scales);
    hn::StoreU(hn::Mul(scaled, hn::LoadU(d, weight + i)), d, out + i);
  }
  for (; i < size; ++i) out[i] = in[i] * scale * weight[i];
}

// `count` vectors of `size` elements, one after the other.
void NormVectors(const float* in, const float* weight, float eps, size_t size, size_t count,
                 float* out) {
  for (size_t v = 0; v < count; ++v, in += size, out += size) {
    const float mean = SumOfSquares(in, size) / static_cast<float>(size);
    ScaleRow(in, weight, 1.0f / std::sqrt(mean + eps), size, out);
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {
namespace {

HWY_EXPORT(NormVectors);

// Below this many elements one thread is done before another one has woken up (chosen).
constexpr int64_t kMinParallelElements = 1 << 15;

// Rows of `columns / size` vectors each.
void Norm(ConstMatrix in, const TensorView& weight, float eps, int64_t size, Matrix out,
          ThreadPool& pool) {
  NPUMOE_CHECK(weight.shape.elements() == size && size > 0 && in.columns % size == 0);
  NPUMOE_CHECK(in.rows == out.rows && in.columns == out.columns);
  thread_local AlignedBuffer<float> scratch;
  scratch.EnsureSize(static_cast<size_t>(size));
  const float* weights = scratch.data();
  ToF32(weight, 0, {scratch.data(), static_cast<size_t>(size)});
  const auto body = [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      HWY_DYNAMIC_DISPATCH(NormVectors)
      (in.Row(r), weights, eps, static_cast<size_t>(size), static_cast<size_t>(in.columns / size),
       out.Row(r));
    }
  };
  if (in.rows * in.columns < kMinParallelElements) return body(0, in.rows, 0);
  pool.ParallelRanges(in.rows, 1, body);
}

}  // namespace

void RmsNorm(ConstMatrix in, const TensorView& weight, float eps, Matrix out, ThreadPool& pool) {
  Norm(in, weight, eps, in.columns, out, pool);
}

void RmsNormPerHead(ConstMatrix in, const TensorView& weight, float eps, Matrix out,
                    ThreadPool& pool) {
  Norm(in, weight, eps, weight.shape.elements(), out, pool);
}

}  // namespace npumoe
#endif
