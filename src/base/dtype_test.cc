#include "base/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace npumoe {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool IsNanF16(uint32_t bits) { return (bits & 0x7c00u) == 0x7c00u && (bits & 0x3ffu) != 0; }
bool IsNanBF16(uint32_t bits) { return (bits & 0x7f80u) == 0x7f80u && (bits & 0x7fu) != 0; }

// The value by the definition of the format, computed in double.
double HalfByDefinition(uint32_t bits) {
  const double sign = (bits & 0x8000u) != 0 ? -1 : 1;
  const int exponent = static_cast<int>((bits >> 10) & 31);
  const double fraction = (bits & 0x3ffu) / 1024.0;
  if (exponent == 31) return sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(fraction, -14);
  return sign * std::ldexp(1 + fraction, exponent - 15);
}

TEST(F16, HasTheValueOfItsDefinitionForAllBitPatterns) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = F32FromF16(static_cast<uint16_t>(bits));
    if (IsNanF16(bits)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(value), HalfByDefinition(bits)) << bits;
      ASSERT_EQ(std::signbit(value), (bits & 0x8000u) != 0) << bits;
    }
  }
}

TEST(F16, ComesBackUnchangedThroughF32ForAllBitPatterns) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t back = F16FromF32(F32FromF16(static_cast<uint16_t>(bits)));
    if (IsNanF16(bits)) {
      ASSERT_TRUE(IsNanF16(back)) << bits;
    } else {
      ASSERT_EQ(back, bits);
    }
  }
}

// Between each pair of neighbours: the tie goes to the even one, and one float step to either
// side of the tie goes to the nearer one.
TEST(F16, RoundsToNearestEvenBetweenAllNeighbours) {
  for (uint32_t low = 0; low < 0x7bff; ++low) {
    const uint32_t high = low + 1;
    const float tie =
        (F32FromF16(static_cast<uint16_t>(low)) + F32FromF16(static_cast<uint16_t>(high))) / 2;
    const uint32_t even = low % 2 == 0 ? low : high;
    ASSERT_EQ(F16FromF32(tie), even) << low;
    ASSERT_EQ(F16FromF32(-tie), even | 0x8000u) << low;
    ASSERT_EQ(F16FromF32(std::nextafter(tie, -kInfinity)), low);
    ASSERT_EQ(F16FromF32(std::nextafter(tie, kInfinity)), high);
  }
}

TEST(F16, OverflowsToInfinityFromHalfAStepAboveTheLargest) {
  EXPECT_EQ(F16FromF32(kF16Max), 0x7bff);
  EXPECT_EQ(F16FromF32(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(F16FromF32(65520.0f), 0x7c00);
  EXPECT_EQ(F16FromF32(-1e30f), 0xfc00);
  EXPECT_EQ(F16FromF32(kInfinity), 0x7c00);
}

TEST(F16, UnderflowsToZeroBelowHalfTheSmallestSubnormal) {
  EXPECT_EQ(F16FromF32(0x1p-25f), 0x0000);
  EXPECT_EQ(F16FromF32(std::nextafter(0x1p-25f, 1.0f)), 0x0001);
  EXPECT_EQ(F16FromF32(std::numeric_limits<float>::denorm_min()), 0x0000);
  EXPECT_EQ(F16FromF32(-std::numeric_limits<float>::denorm_min()), 0x8000);
}

TEST(BF16, ComesBackUnchangedThroughF32ForAllBitPatterns) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t back = BF16FromF32(F32FromBF16(static_cast<uint16_t>(bits)));
    if (IsNanBF16(bits)) {
      ASSERT_TRUE(IsNanBF16(back)) << bits;
    } else {
      ASSERT_EQ(back, bits);
    }
  }
}

TEST(BF16, RoundsToNearestEvenBetweenAllNeighbours) {
  for (uint32_t low = 0; low < 0x7f80; ++low) {
    const uint32_t tie = (low << 16) | 0x8000u;
    const uint32_t even = low % 2 == 0 ? low : low + 1;
    ASSERT_EQ(BF16FromF32(std::bit_cast<float>(tie)), even) << low;
    ASSERT_EQ(BF16FromF32(std::bit_cast<float>(tie - 1)), low);
    ASSERT_EQ(BF16FromF32(std::bit_cast<float>(tie + 1)), low + 1);
  }
}

TEST(BF16, KeepsNanWhosePayloadLiesInTheDroppedBits) {
  EXPECT_TRUE(IsNanBF16(BF16FromF32(std::bit_cast<float>(0x7f800001u))));
  EXPECT_TRUE(IsNanBF16(BF16FromF32(std::bit_cast<float>(0xffffffffu))));
}

TEST(F16, KeepsNanWhosePayloadLiesInTheDroppedBits) {
  EXPECT_TRUE(IsNanF16(F16FromF32(std::bit_cast<float>(0x7f800001u))));
}

TEST(DType, ParsesEveryNameItPrints) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32, DType::kI8,
                            DType::kU8, DType::kI64, DType::kBool}) {
    EXPECT_EQ(ParseDType(Name(dtype)), dtype);
  }
  EXPECT_STREQ(Name(DType::kBF16), "BF16");
  EXPECT_EQ(ParseDType("F8_E4M3"), std::nullopt);
}

TEST(DType, PacksSubByteElementsWithoutGaps) {
  EXPECT_EQ(BytesOf(DType::kI4, 0), 0u);
  EXPECT_EQ(BytesOf(DType::kI4, 7), 4u);
  EXPECT_EQ(BytesOf(DType::kU4, 8), 4u);
  EXPECT_EQ(BytesOf(DType::kU6, 4), 3u);
  EXPECT_EQ(BytesOf(DType::kU6, 5), 4u);
  EXPECT_EQ(BytesOf(DType::kU6, int64_t{1} << 60), size_t{3} << 58);  // the bits are beyond 2^62
  EXPECT_EQ(MeanBitsPerElement(DType::kU6), 6.0);
}

TEST(DType, AcceptsNoSubByteTypeInAModelFile) {
  for (const DType dtype : {DType::kI4, DType::kU4, DType::kU6}) {
    EXPECT_TRUE(IsSubByte(dtype));
    EXPECT_FALSE(IsQuantized(dtype));
    EXPECT_EQ(ParseDType(Name(dtype)), std::nullopt);
    EXPECT_EQ(ParseAnyDType(Name(dtype)), std::nullopt);
  }
  EXPECT_FALSE(IsSubByte(DType::kI8));
}

TEST(DType, KnowsTheBytesOfAnElement) {
  EXPECT_EQ(BytesPerElement(DType::kI64), 8u);
  EXPECT_EQ(BytesPerElement(DType::kF32), 4u);
  EXPECT_EQ(BytesPerElement(DType::kBF16), 2u);
  EXPECT_EQ(BytesPerElement(DType::kBool), 1u);
}

}  // namespace
}  // namespace npumoe
