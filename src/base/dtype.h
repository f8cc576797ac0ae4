// Element types of tensors, and scalar conversion between fp32 and the 16-bit floats.
// Bulk conversion is a kernel (kernels/convert), and so is the decoding of quantised blocks
// (kernels/quantize, which describes their bytes).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace npumoe {

// Plain types hold one value per element. Quantised types, as GGUF stores them, hold a row in
// blocks of 32 or 256 values; a row is a whole number of blocks. Sub-byte types are plain integers
// of 4 or 6 bits, as programs store compressed weights: element i has the bits
// [i * width, (i + 1) * width) of the whole tensor, low bits first, I4 in two's complement; the
// last byte is filled with zeros. No model file has them.
enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kI32,
  kI8,
  kU8,
  kI64,
  kBool,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kMXFP4,
  kI4,
  kU4,
  kU6,
};

bool IsQuantized(DType dtype);
bool IsSubByte(DType dtype);
int64_t BlockElements(DType dtype);      // 1 for plain types
size_t BlockBytes(DType dtype);          // of plain types: of one element; not for sub-byte types
size_t BytesPerElement(DType dtype);     // plain types of whole bytes only
double MeanBitsPerElement(DType dtype);  // 4.5 for Q4_0
// Bytes of `elements`, which must be a whole number of blocks; those of sub-byte types are rounded
// up to the last one.
size_t BytesOf(DType dtype, int64_t elements);
// "F32", "BF16", ... as safetensors spells them; "Q4_K", ... as GGUF does; "I4", "U4", "U6".
const char* Name(DType dtype);
// Plain types that safetensors may hold: none of the sub-byte ones.
std::optional<DType> ParseDType(std::string_view name);
// "q8_0", "Q4_K", "bf16", ... in either case, all types of model files; for options and reports.
std::optional<DType> ParseAnyDType(std::string_view name);

// IEEE half, round to nearest even; overflow gives infinity, NaN stays NaN.
uint16_t F16FromF32(float value);
float F32FromF16(uint16_t bits);
// bfloat16, round to nearest even.
uint16_t BF16FromF32(float value);
float F32FromBF16(uint16_t bits);

inline constexpr float kF16Max = 65504.0f;
// The first magnitude that rounds to infinity: halfway to the next step.
inline constexpr float kF16FirstInfinite = 65520.0f;

}  // namespace npumoe
