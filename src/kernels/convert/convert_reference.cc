#include "base/dtype.h"
#include "kernels/convert/convert.h"

namespace npumoe {

void F32ToF16Reference(std::span<const float> in, uint16_t* out) {
  for (size_t i = 0; i < in.size(); ++i) out[i] = F16FromF32(in[i]);
}

void F16ToF32Reference(std::span<const uint16_t> in, float* out) {
  for (size_t i = 0; i < in.size(); ++i) out[i] = F32FromF16(in[i]);
}

void BF16ToF32Reference(std::span<const uint16_t> in, float* out) {
  for (size_t i = 0; i < in.size(); ++i) out[i] = F32FromBF16(in[i]);
}

}  // namespace npumoe
