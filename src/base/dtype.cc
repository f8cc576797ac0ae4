#include "base/dtype.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>

#include "base/check.h"

namespace npumoe {
namespace {

struct DTypeEntry {
  DType dtype;
  const char* name;
  int64_t block_elements;
  size_t block_bytes;  // 0 for sub-byte types
  int sub_byte_bits = 0;
};

// In the order of the enumeration. Blocks as the GGUF format defines them.
constexpr std::array<DTypeEntry, 20> kDTypes = {{
    {DType::kF32, "F32", 1, 4},       {DType::kF16, "F16", 1, 2},
    {DType::kBF16, "BF16", 1, 2},     {DType::kI32, "I32", 1, 4},
    {DType::kI8, "I8", 1, 1},         {DType::kU8, "U8", 1, 1},
    {DType::kI64, "I64", 1, 8},       {DType::kBool, "BOOL", 1, 1},
    {DType::kQ8_0, "Q8_0", 32, 34},   {DType::kQ4_0, "Q4_0", 32, 18},
    {DType::kQ4_1, "Q4_1", 32, 20},   {DType::kQ5_0, "Q5_0", 32, 22},
    {DType::kQ5_1, "Q5_1", 32, 24},   {DType::kQ4_K, "Q4_K", 256, 144},
    {DType::kQ5_K, "Q5_K", 256, 176}, {DType::kQ6_K, "Q6_K", 256, 210},
    {DType::kMXFP4, "MXFP4", 32, 17}, {DType::kI4, "I4", 1, 0, 4},
    {DType::kU4, "U4", 1, 0, 4},      {DType::kU6, "U6", 1, 0, 6},
}};

const DTypeEntry& EntryOf(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  NPUMOE_CHECK(index < kDTypes.size());
  return kDTypes[index];
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

bool IsQuantized(DType dtype) { return EntryOf(dtype).block_elements > 1; }

bool IsSubByte(DType dtype) { return EntryOf(dtype).sub_byte_bits > 0; }

int64_t BlockElements(DType dtype) { return EntryOf(dtype).block_elements; }

size_t BlockBytes(DType dtype) {
  NPUMOE_CHECK(!IsSubByte(dtype));
  return EntryOf(dtype).block_bytes;
}

size_t BytesPerElement(DType dtype) {
  NPUMOE_CHECK(!IsQuantized(dtype) && !IsSubByte(dtype));
  return EntryOf(dtype).block_bytes;
}

double MeanBitsPerElement(DType dtype) {
  const DTypeEntry& entry = EntryOf(dtype);
  if (entry.sub_byte_bits > 0) return entry.sub_byte_bits;
  return 8.0 * static_cast<double>(entry.block_bytes) / static_cast<double>(entry.block_elements);
}

size_t BytesOf(DType dtype, int64_t elements) {
  const DTypeEntry& entry = EntryOf(dtype);
  NPUMOE_CHECK(elements >= 0 && elements % entry.block_elements == 0);
  if (entry.sub_byte_bits > 0) {  // in eighths first: the bits alone could overflow
    const auto bits = static_cast<size_t>(entry.sub_byte_bits);
    return static_cast<size_t>(elements / 8) * bits +
           (static_cast<size_t>(elements % 8) * bits + 7) / 8;
  }
  return static_cast<size_t>(elements / entry.block_elements) * entry.block_bytes;
}

const char* Name(DType dtype) { return EntryOf(dtype).name; }

std::optional<DType> ParseDType(std::string_view name) {
  for (const DTypeEntry& entry : kDTypes) {
    const bool plain = entry.block_elements == 1 && entry.sub_byte_bits == 0;
    if (plain && name == entry.name) return entry.dtype;
  }
  return std::nullopt;
}

std::optional<DType> ParseAnyDType(std::string_view name) {
  for (const DTypeEntry& entry : kDTypes) {
    if (entry.sub_byte_bits == 0 && EqualIgnoringCase(name, entry.name)) return entry.dtype;
  }
  return std::nullopt;
}

uint16_t F16FromF32(float value) {
  constexpr uint32_t kInfinity = 0x7f800000;
  constexpr uint32_t kFirstInfinite = 0x477ff000;  // 65520: halfway from 65504 to 65536
  constexpr uint32_t kFirstNormal = 0x38800000;    // 2^-14
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;

  uint32_t half = 0;
  if (magnitude > kInfinity) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);  // quiet, upper payload kept
  } else if (magnitude >= kFirstInfinite) {
    half = 0x7c00u;
  } else if (magnitude < kFirstNormal) {
    // In [0.5, 1) one float step is 2^-24, the step of half subnormals: the addition rounds.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
           std::bit_cast<uint32_t>(0.5f);
  } else {
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    half = (rounded - (uint32_t{127 - 15} << 23)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

float F32FromF16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | ((exponent + 127 - 15) << 23) | (mantissa << 13));
}

uint16_t BF16FromF32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float F32FromBF16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

}  // namespace npumoe
