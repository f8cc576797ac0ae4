#include "base/check.h"
#include "base/quantized_block.h"
#include "kernels/quantize/quantize.h"

namespace npumoe {

void DecodeBlocksReference(DType dtype, std::span<const std::byte> blocks, std::span<float> out) {
  NPUMOE_CHECK(blocks.size() == BytesOf(dtype, static_cast<int64_t>(out.size())));
  const auto elements = static_cast<size_t>(BlockElements(dtype));
  const std::byte* block = blocks.data();
  for (size_t i = 0; i < out.size(); i += elements, block += BlockBytes(dtype)) {
    DecodeBlock(dtype, block, out.data() + i);
  }
}

}  // namespace npumoe
