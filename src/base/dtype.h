// Element types of tensors, and scalar conversion between fp32 and the 16-bit floats.
// Bulk conversion is a kernel: kernels/convert.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace npumoe {

enum class DType : uint8_t { kF32, kF16, kBF16, kI32, kI8, kU8, kI64, kBool };

size_t BytesPerElement(DType dtype);
// "F32", "BF16", ... as safetensors spells them.
const char* Name(DType dtype);
std::optional<DType> ParseDType(std::string_view name);

// IEEE half, round to nearest even; overflow gives infinity, NaN stays NaN.
uint16_t F16FromF32(float value);
float F32FromF16(uint16_t bits);
// bfloat16, round to nearest even.
uint16_t BF16FromF32(float value);
float F32FromBF16(uint16_t bits);

inline constexpr float kF16Max = 65504.0f;

}  // namespace npumoe
