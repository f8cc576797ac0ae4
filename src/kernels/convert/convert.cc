#include "kernels/convert/convert.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/quantize/quantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convert/convert.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/convert/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {

void SpanToF16(const float* in, size_t size, uint16_t* out) { ConvertToF16(in, size, out); }
void SpanFromF16(const uint16_t* in, size_t size, float* out) { ConvertFromF16(in, size, out); }
void SpanFromBF16(const uint16_t* in, size_t size, float* out) { ConvertFromBF16(in, size, out); }

void RoundSpanToF16(float* inout, size_t size) {
  constexpr size_t kRun = 64;  // chosen: a few vectors, on the stack
  uint16_t halves[kRun];
  for (size_t i = 0; i < size; i += kRun) {
    const size_t count = std::min(kRun, size - i);
    ConvertToF16(inout + i, count, halves);
    ConvertFromF16(halves, count, inout + i);
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {

HWY_EXPORT(SpanToF16);
HWY_EXPORT(SpanFromF16);
HWY_EXPORT(SpanFromBF16);
HWY_EXPORT(RoundSpanToF16);

void F32ToF16(std::span<const float> in, uint16_t* out) {
  HWY_DYNAMIC_DISPATCH(SpanToF16)(in.data(), in.size(), out);
}

void F16ToF32(std::span<const uint16_t> in, float* out) {
  HWY_DYNAMIC_DISPATCH(SpanFromF16)(in.data(), in.size(), out);
}

void BF16ToF32(std::span<const uint16_t> in, float* out) {
  HWY_DYNAMIC_DISPATCH(SpanFromBF16)(in.data(), in.size(), out);
}

void ToF32(const TensorView& tensor, int64_t begin, std::span<float> out) {
  NPUMOE_CHECK(begin >= 0 && begin + static_cast<int64_t>(out.size()) <= tensor.shape.elements());
  switch (tensor.dtype) {
    case DType::kF32:
      std::copy_n(tensor.as<float>() + begin, out.size(), out.data());
      return;
    case DType::kF16:
      return F16ToF32({tensor.as<uint16_t>() + begin, out.size()}, out.data());
    case DType::kBF16:
      return BF16ToF32({tensor.as<uint16_t>() + begin, out.size()}, out.data());
    default:
      NPUMOE_CHECK(IsQuantized(tensor.dtype));
      NPUMOE_CHECK(begin % BlockElements(tensor.dtype) == 0);
      const std::byte* blocks = tensor.data + BytesOf(tensor.dtype, begin);
      const size_t bytes = BytesOf(tensor.dtype, static_cast<int64_t>(out.size()));
      DecodeBlocks(tensor.dtype, {blocks, bytes}, out);
  }
}

void RoundToF16(std::span<float> inout) {
  HWY_DYNAMIC_DISPATCH(RoundSpanToF16)(inout.data(), inout.size());
}

}  // namespace npumoe
#endif
