#include "base/check.h"
#include "kernels/quantize/quantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantize/decode.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/quantize/decode-inl.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {

void DecodeSpan(DType dtype, const std::byte* block, float* out, size_t size) {
  DecodeRow(dtype, block, out, size);
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {

HWY_EXPORT(DecodeSpan);

void DecodeBlocks(DType dtype, std::span<const std::byte> blocks, std::span<float> out) {
  NPUMOE_CHECK(IsQuantized(dtype));
  NPUMOE_CHECK(blocks.size() == BytesOf(dtype, static_cast<int64_t>(out.size())));
  HWY_DYNAMIC_DISPATCH(DecodeSpan)(dtype, blocks.data(), out.data(), out.size());
}

}  // namespace npumoe
#endif
