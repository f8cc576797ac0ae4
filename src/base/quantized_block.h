// The values of one quantised block, element by element in plain code: the meaning of the types of
// GGUF that base/dtype.h names. Kernels (kernels/quantize) decode in bulk and are tested against
// this; rooms that may not use kernels decode with it.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace npumoe {

inline constexpr int64_t kMaxBlockElements = 256;

// Reads BlockBytes(dtype) bytes at `block`, at any address and whatever they hold, and writes
// BlockElements(dtype) values: products of a scale and a small integer, exact in fp32, plus at
// most one rounding where a minimum is subtracted. A scale that is infinite or no number gives
// such values. `dtype` is quantised.
void DecodeBlock(DType dtype, const std::byte* block, float* out);

// The 6-bit factors of the eight runs of 32 values of a Q4_K or Q5_K block.
struct RunFactors {
  std::array<uint8_t, 8> scales;
  std::array<uint8_t, 8> minima;
};
// 12 bytes: bytes 0..3 hold the scales of runs 0..3 and, in their two upper bits, the upper bits
// of the scales of runs 4..7; bytes 4..7 the same of the minima; bytes 8..11 the lower four bits
// of scale (low nibble) and minimum (high nibble) of runs 4..7.
RunFactors UnpackRunFactors(const uint8_t* packed);
void PackRunFactors(const RunFactors& factors, uint8_t* packed);

// Twice the value of each E2M1 nibble of MXFP4, and half the scale of each exponent byte, so that
// all factors are integers and the product is the value.
inline constexpr std::array<int8_t, 16> kTwiceE2M1 = {0, 1,  2,  3,  4,  6,  8,  12,
                                                      0, -1, -2, -3, -4, -6, -8, -12};
// 2^(exponent - 128), also of 255. Below 2^-126 floats are subnormal: 2^-128 and 2^-127 are single
// bits of the fraction.
constexpr float HalfScaleOfE8M0(int exponent) {
  const auto e = static_cast<uint32_t>(exponent);
  return std::bit_cast<float>(e < 2 ? uint32_t{0x00200000} << e : (e - 1) << 23);
}

}  // namespace npumoe
