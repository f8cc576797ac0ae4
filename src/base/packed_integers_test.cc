#include "base/packed_integers.h"

#include <gtest/gtest.h>

#include <vector>

namespace npumoe {
namespace {

std::byte Byte(int value) { return static_cast<std::byte>(value); }

TEST(PackedIntegers, PutTheFirstElementIntoTheLowBits) {
  std::vector<std::byte> nibbles(2);
  for (int64_t i = 0; i < 4; ++i) WritePacked(static_cast<uint32_t>(i + 1), i, 4, nibbles.data());
  EXPECT_EQ(nibbles, (std::vector{Byte(0x21), Byte(0x43)}));
}

// 1, 2, 3, 63 as one number: 1 + 2 * 2^6 + 3 * 2^12 + 63 * 2^18 = 0xfc3081.
TEST(PackedIntegers, CrossTheBordersOfBytes) {
  std::vector<std::byte> bytes(3);
  int64_t i = 0;
  for (const uint32_t value : {1u, 2u, 3u, 63u}) WritePacked(value, i++, 6, bytes.data());
  EXPECT_EQ(bytes, (std::vector{Byte(0x81), Byte(0x30), Byte(0xfc)}));
}

TEST(PackedIntegers, ComeBackAtEveryWidthAndTouchNoByteBeyond) {
  for (int width = 1; width <= 8; ++width) {
    constexpr int64_t kCount = 41;
    std::vector<std::byte> bytes(static_cast<size_t>((kCount * width + 7) / 8));
    for (int64_t i = 0; i < kCount; ++i) {
      WritePacked(static_cast<uint32_t>(i * 37), i, width, bytes.data());
    }
    for (int64_t i = 0; i < kCount; ++i) {
      EXPECT_EQ(ReadPacked(bytes.data(), i, width), static_cast<uint32_t>(i * 37) % (1u << width));
    }
  }
}

TEST(PackedIntegers, ReadANibbleAsTwosComplement) {
  EXPECT_EQ(SignedNibble(0), 0);
  EXPECT_EQ(SignedNibble(7), 7);
  EXPECT_EQ(SignedNibble(8), -8);
  EXPECT_EQ(SignedNibble(15), -1);
}

}  // namespace
}  // namespace npumoe
