#include "graph/weights/integer_blocks.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"

namespace npumoe {
namespace {

// Nearest integer, ties to even, of a number below 2^22 in magnitude; vectorises everywhere.
float Nearest(float value) {
  constexpr float kShift = 0x1.8p23f;
  return (value + kShift) - kShift;
}

// The fp16 scale nearest to `wanted` with which integers up to `steps` reach `largest`, or the one
// below it where its products would leave fp16.
uint16_t ScaleFor(float wanted, float largest, float steps) {
  uint16_t bits = F16FromF32(wanted);
  const auto magnitude = [&] { return std::abs(F32FromF16(bits)); };
  if (magnitude() * (steps + 0.5f) < largest) ++bits;  // also from 0 to the smallest number
  if (magnitude() * steps >= kF16FirstInfinite) --bits;
  return bits;
}

// `wanted` has its final sign; integers lie in [lowest, highest].
uint16_t Encode(std::span<const float> values, float wanted, float largest, float steps,
                float highest, int8_t* out) {
  if (largest == 0) {
    std::fill_n(out, values.size(), int8_t{0});
    return 0;
  }
  const uint16_t bits = ScaleFor(wanted, largest, steps);
  const float scale = F32FromF16(bits);
  for (size_t i = 0; i < values.size(); ++i) {
    // Bounds first: the quotient of a subnormal scale may be large.
    const float quotient = std::min(std::max(values[i] / scale, -steps), highest);
    out[i] = static_cast<int8_t>(Nearest(quotient));
  }
  return bits;
}

float LargestMagnitude(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

}  // namespace

uint16_t EncodeInt8(std::span<const float> values, int8_t* out) {
  const float largest = LargestMagnitude(values);
  return Encode(values, largest / 127, largest, 127, 127, out);
}

uint16_t EncodeInt4(std::span<const float> values, int8_t* out) {
  const float largest = LargestMagnitude(values);
  const bool positive = std::find(values.begin(), values.end(), largest) != values.end();
  return Encode(values, (positive ? -largest : largest) / 8, largest, 8, 7, out);
}

}  // namespace npumoe
