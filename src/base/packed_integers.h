// Integers of a few bits in a row, as the sub-byte types of base/dtype.h store them: element i has
// the bits [i * width, (i + 1) * width), low bits first, across the borders of bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace npumoe {

// The element at `index`, without sign. `width` is 1 to 8.
inline uint32_t ReadPacked(const std::byte* data, int64_t index, int width) {
  const int64_t bit = index * width;
  const std::byte* at = data + bit / 8;
  const int shift = static_cast<int>(bit % 8);
  uint32_t bits = std::to_integer<uint32_t>(at[0]) >> shift;
  if (shift + width > 8) bits |= std::to_integer<uint32_t>(at[1]) << (8 - shift);
  return bits & ((1u << width) - 1);
}

// Adds the lowest `width` bits of `value` to bytes that are zero at that place.
inline void WritePacked(uint32_t value, int64_t index, int width, std::byte* data) {
  const int64_t bit = index * width;
  std::byte* at = data + bit / 8;
  const int shift = static_cast<int>(bit % 8);
  const uint32_t placed = (value & ((1u << width) - 1)) << shift;
  at[0] |= static_cast<std::byte>(placed & 0xff);
  if (shift + width > 8) at[1] |= static_cast<std::byte>(placed >> 8);
}

// A 4-bit two's complement number.
inline int32_t SignedNibble(uint32_t bits) { return static_cast<int32_t>(bits ^ 8u) - 8; }

}  // namespace npumoe
