// Random quantised blocks with scales as weights have them, for tests and benchmarks: every type,
// also those that nothing here encodes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>

#include "base/check.h"
#include "base/dtype.h"

namespace npumoe::testing {

// Where the fp16 scale and minimum of a block lie, and for which values of them the block's values
// span about [-1, 1).
struct BlockScales {
  size_t scale_offset = 0;
  double scale = 0;
  size_t minimum_offset = 0;
  double minimum = 0;  // 0: the type has none
};

inline BlockScales ScalesOf(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return {0, 1.0 / 128};
    case DType::kQ4_0:
      return {0, 1.0 / 8};
    case DType::kQ4_1:
      return {0, 2.0 / 15, 2, -1.0};
    case DType::kQ5_0:
      return {0, 1.0 / 16};
    case DType::kQ5_1:
      return {0, 2.0 / 31, 2, -1.0};
    case DType::kQ4_K:
      return {0, 2.0 / (63 * 15), 2, 1.0 / 63};
    case DType::kQ5_K:
      return {0, 2.0 / (63 * 31), 2, 1.0 / 63};
    case DType::kQ6_K:
      return {208, 1.0 / (128 * 32)};
    default:
      NPUMOE_CHECK(false && "a type with fp16 scales");
      return {};
  }
}

inline void SetHalf(double value, std::byte* at) {
  const uint16_t bits = F16FromF32(static_cast<float>(value));
  std::memcpy(at, &bits, sizeof(bits));
}

// Fills whole blocks; values lie about in [-range, range).
inline void FillWithRandomBlocks(DType dtype, uint64_t seed, double range,
                                 std::span<std::byte> blocks) {
  std::mt19937_64 random(seed);
  for (size_t at = 0; at < blocks.size(); at += sizeof(uint64_t)) {
    const uint64_t bits = random();
    std::memcpy(blocks.data() + at, &bits, std::min(sizeof(bits), blocks.size() - at));
  }
  const size_t block_bytes = BlockBytes(dtype);
  for (size_t at = 0; at < blocks.size(); at += block_bytes) {
    std::byte* block = blocks.data() + at;
    const double block_range = range * (0.5 + 0.5 * static_cast<double>(random() >> 11) * 0x1p-53);
    if (dtype == DType::kMXFP4) {
      block[0] = static_cast<std::byte>(127 + std::ilogb(block_range) - 2);  // the largest is 6
      continue;
    }
    const BlockScales scales = ScalesOf(dtype);
    SetHalf(scales.scale * block_range, block + scales.scale_offset);
    if (scales.minimum != 0) SetHalf(scales.minimum * block_range, block + scales.minimum_offset);
  }
}

}  // namespace npumoe::testing
