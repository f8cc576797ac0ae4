#include "kernels/activation/activation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::RandomFloats;

constexpr size_t kSizes[] = {1, 5, 16, 33, 1000};

TEST(SwiGlu, EqualsTheReferenceForEveryTargetAndSize) {
  testing::OnEveryTarget([&] {
    for (const size_t size : kSizes) {
      const auto up = RandomFloats(size, 1, 4.0);
      auto expected = RandomFloats(size, 2, 30.0);
      auto actual = expected;
      SwiGluReference(up, expected);
      const float max = SwiGlu(up, actual);
      // exp to 2 u (its documented 1 ULP), then sum, division and product: 5 u relative.
      std::vector<double> bounds(size);
      for (size_t i = 0; i < size; ++i) {
        bounds[i] = 6 * testing::kUnitRoundoff * std::fabs(expected[i]) + 1e-37;
      }
      testing::ExpectWithin(actual, expected, bounds);
      EXPECT_EQ(max, MaxMagnitude(actual));
    }
  });
}

TEST(SwiGlu, SaturatesForGatesFarFromZero) {
  testing::OnEveryTarget([&] {
    std::vector<float> gate(40, -2000.0f);
    gate[3] = 2000.0f;
    const std::vector<float> up(40, 2.0f);
    SwiGlu(up, gate);
    for (size_t i = 0; i < gate.size(); ++i) {
      EXPECT_NEAR(gate[i], i == 3 ? 4000.0f : 0.0f, 1e-30f) << i;
    }
  });
}

TEST(Softmax, EqualsTheReferenceForEveryTargetAndSize) {
  testing::OnEveryTarget([&] {
    for (const size_t size : kSizes) {
      auto expected = RandomFloats(size, 3, 40.0);
      auto actual = expected;
      SoftmaxReference(expected);
      Softmax(actual);
      // exp to 2 u plus the rounding of x - max, up to 80 u; the sum of n positive numbers to n u.
      const double relative = (84.0 + static_cast<double>(size)) * testing::kUnitRoundoff;
      std::vector<double> bounds(size);
      for (size_t i = 0; i < size; ++i) bounds[i] = relative * double{expected[i]} + 1e-37;
      testing::ExpectWithin(actual, expected, bounds);
    }
  });
}

TEST(MaxMagnitude, FindsTheLargestOfEitherSignAtAnyPlace) {
  testing::OnEveryTarget([&] {
    for (const size_t size : kSizes) {
      for (const size_t place : {size_t{0}, size / 2, size - 1}) {
        auto values = RandomFloats(size, 4);
        values[place] = -5.0f;
        EXPECT_EQ(MaxMagnitude(values), 5.0f);
      }
    }
    EXPECT_EQ(MaxMagnitude({}), 0.0f);
  });
}

TEST(AddTo, AddsEveryElement) {
  testing::OnEveryTarget([&] {
    for (const size_t size : kSizes) {
      const auto other = RandomFloats(size, 5);
      const auto start = RandomFloats(size, 6);
      auto actual = start;
      AddTo(other, actual);
      for (size_t i = 0; i < size; ++i) ASSERT_EQ(actual[i], start[i] + other[i]);
    }
  });
}

}  // namespace
}  // namespace npumoe
