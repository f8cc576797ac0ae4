#include "kernels/convert/convert.h"

#include <algorithm>

#include "base/check.h"

namespace npumoe {

void F32ToF16(std::span<const float> in, uint16_t* out) { F32ToF16Reference(in, out); }
void F16ToF32(std::span<const uint16_t> in, float* out) { F16ToF32Reference(in, out); }
void BF16ToF32(std::span<const uint16_t> in, float* out) { BF16ToF32Reference(in, out); }

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
      NPUMOE_CHECK(false && "a float tensor");
  }
}

void RoundToF16(std::span<float> inout) {
  for (float& v : inout) v = F32FromF16(F16FromF32(v));
}

}  // namespace npumoe
