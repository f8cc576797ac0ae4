// Blocks of values that share a scale: fp32 to 8 or 4 bit integers.
#pragma once

#include <cstdint>
#include <span>

namespace npumoe {

// Writes one integer for each value, in [-127, 127] and [-8, 7]; returns the scale as fp16. Values
// are finite and within fp16. All zeros have the scale 0.
uint16_t EncodeInt8(std::span<const float> values, int8_t* out);
uint16_t EncodeInt4(std::span<const float> values, int8_t* out);

}  // namespace npumoe
