// Bulk conversion between element types, round to nearest even.
#pragma once

#include <cstdint>
#include <span>

#include "base/tensor_view.h"

namespace npumoe {

void F32ToF16(std::span<const float> in, uint16_t* out);
void F16ToF32(std::span<const uint16_t> in, float* out);
void BF16ToF32(std::span<const uint16_t> in, float* out);
// Elements [begin, begin + out.size()) of a tensor of any float or quantised type to fp32; of
// quantised types both are whole numbers of blocks.
void ToF32(const TensorView& tensor, int64_t begin, std::span<float> out);
// in-place rounding of fp32 values to the nearest fp16 (what a tensor declared fp16 holds).
void RoundToF16(std::span<float> inout);

// Plain loops over base/dtype.h.
void F32ToF16Reference(std::span<const float> in, uint16_t* out);
void F16ToF32Reference(std::span<const uint16_t> in, float* out);
void BF16ToF32Reference(std::span<const uint16_t> in, float* out);

}  // namespace npumoe
