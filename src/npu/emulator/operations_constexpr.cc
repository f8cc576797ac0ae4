// Compressed weights: made when the program is loaded, one after another, and kept as the fp16
// numbers that products read.
#include <algorithm>
#include <cstring>
#include <vector>

#include "graph/weights/materialised.h"
#include "kernels/convert/convert.h"
#include "npu/emulator/operations.h"

namespace npumoe::emulator {
namespace {

constexpr int64_t kAtATime = 16384;  // elements; chosen: floats that stay in the first-level cache

void Store(std::span<const float> values, DType dtype, std::byte* out) {
  if (dtype == DType::kF16) {
    F32ToF16(values, reinterpret_cast<uint16_t*>(out));
  } else {
    std::memcpy(out, values.data(), values.size_bytes());
  }
}

}  // namespace

Status AddConstexpr(StepBuilder& builder, const Operation& operation, const Arguments&) {
  const TensorSpec& result = operation.outputs.front();
  NPUMOE_ASSIGN_OR_RETURN(const MaterialisedWeight weight,
                          MaterialisedWeight::Of(builder.graph(), operation));
  NPUMOE_ASSIGN_OR_RETURN(const std::span<std::byte> bytes, builder.DeclareMaterialised(result));
  std::vector<float> values(static_cast<size_t>(std::min(kAtATime, weight.elements())));
  for (int64_t begin = 0; begin < weight.elements(); begin += kAtATime) {
    const auto count = static_cast<size_t>(std::min(kAtATime, weight.elements() - begin));
    const std::span<float> part = std::span(values).first(count);
    weight.Read(begin, part);
    Store(part, result.dtype, bytes.data() + BytesOf(result.dtype, begin));
  }
  return OkStatus();
}

}  // namespace npumoe::emulator
