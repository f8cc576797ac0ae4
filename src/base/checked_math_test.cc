#include "base/checked_math.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace npumoe {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

TEST(CheckedMath, AddsUpToTheLimitsAndNoFurther) {
  EXPECT_EQ(CheckedAdd(kMax - 1, int64_t{1}), kMax);
  EXPECT_EQ(CheckedAdd(kMax, int64_t{1}), std::nullopt);
  EXPECT_EQ(CheckedAdd(kMin, int64_t{-1}), std::nullopt);
  EXPECT_EQ(CheckedAdd(std::numeric_limits<uint64_t>::max(), uint64_t{1}), std::nullopt);
}

TEST(CheckedMath, MultipliesUpToTheLimitsAndNoFurther) {
  EXPECT_EQ(CheckedMul(int64_t{1} << 31, int64_t{1} << 31), int64_t{1} << 62);
  EXPECT_EQ(CheckedMul(int64_t{1} << 32, int64_t{1} << 31), std::nullopt);
  EXPECT_EQ(CheckedMul(kMin, int64_t{-1}), std::nullopt);
}

TEST(CheckedMath, RoundsUpToAQuantum) {
  EXPECT_EQ(RoundUp(33, 32), 64);
  EXPECT_EQ(RoundUp(64, 32), 64);
  EXPECT_EQ(RoundUp(0, 32), 0);
  EXPECT_EQ(DivideRoundUp(65, 32), 3);
}

}  // namespace
}  // namespace npumoe
