#include "base/dtype.h"

#include <array>
#include <bit>

#include "base/check.h"

namespace npumoe {
namespace {

struct DTypeEntry {
  DType dtype;
  const char* name;
  size_t bytes;
};

// In the order of the enumeration.
constexpr std::array<DTypeEntry, 8> kDTypes = {{
    {DType::kF32, "F32", 4},
    {DType::kF16, "F16", 2},
    {DType::kBF16, "BF16", 2},
    {DType::kI32, "I32", 4},
    {DType::kI8, "I8", 1},
    {DType::kU8, "U8", 1},
    {DType::kI64, "I64", 8},
    {DType::kBool, "BOOL", 1},
}};

const DTypeEntry& EntryOf(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  NPUMOE_CHECK(index < kDTypes.size());
  return kDTypes[index];
}

}  // namespace

size_t BytesPerElement(DType dtype) { return EntryOf(dtype).bytes; }

const char* Name(DType dtype) { return EntryOf(dtype).name; }

std::optional<DType> ParseDType(std::string_view name) {
  for (const DTypeEntry& entry : kDTypes) {
    if (name == entry.name) return entry.dtype;
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
