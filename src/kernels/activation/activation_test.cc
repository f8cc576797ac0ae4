#include "kernels/activation/activation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

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

TEST(ClampedSwiGlu, EqualsTheReferenceForEveryTargetAndSize) {
  testing::OnEveryTarget([&] {
    for (const size_t size : kSizes) {
      // Half of the gates and most of the ups lie beyond the limit.
      const auto up = RandomFloats(size, 11, 20.0);
      auto expected = RandomFloats(size, 12, 14.0);
      auto actual = expected;
      ClampedSwiGluReference(up, 7.0f, expected);
      const float max = ClampedSwiGlu(up, 7.0f, actual);
      // The argument of exp, up to 1.702 * 14, is off by 2 u of itself; the rest as above, and
      // up + 1 by u of up to 8, whatever is left of it.
      std::vector<double> bounds(size);
      for (size_t i = 0; i < size; ++i) {
        const double u = std::clamp(up[i], -7.0f, 7.0f);
        const double swish = std::fabs(double{expected[i]}) / std::max(std::fabs(u + 1), 1e-30);
        bounds[i] =
            testing::kUnitRoundoff * ((2 * 1.702 * 14 + 6) * std::fabs(expected[i]) + 8 * swish) +
            1e-37;
      }
      testing::ExpectWithin(actual, expected, bounds);
      EXPECT_EQ(max, MaxMagnitude(actual));
    }
  });
}

TEST(ClampedSwiGlu, SaturatesAtTheLimitAndAtZero) {
  testing::OnEveryTarget([&] {
    std::vector<float> gate(40, -2000.0f);
    gate[3] = 2000.0f;
    const std::vector<float> up(40, 90.0f);
    ClampedSwiGlu(up, 7.0f, gate);
    const double at_limit = 8 * 7 / (1 + std::exp(-1.702 * 7));
    for (size_t i = 0; i < gate.size(); ++i) EXPECT_NEAR(gate[i], i == 3 ? at_limit : 0, 1e-5) << i;
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

TEST(AddScaled, AddsTheProductToEveryElement) {
  testing::OnEveryTarget([&] {
    for (const size_t size : kSizes) {
      const auto other = RandomFloats(size, 7);
      const auto start = RandomFloats(size, 8);
      auto actual = start;
      AddScaled(0.22f, other, actual);
      // One rounding or two, of a product below 0.22 and a sum below 1.22.
      for (size_t i = 0; i < size; ++i) {
        const double exact = double{start[i]} + double{other[i]} * double{0.22f};
        ASSERT_NEAR(actual[i], exact, 1.44 * testing::kUnitRoundoff) << i;
      }
    }
  });
}

TEST(Scale, MultipliesEveryElement) {
  testing::OnEveryTarget([&] {
    for (const size_t size : kSizes) {
      const auto start = RandomFloats(size, 9);
      auto actual = start;
      Scale(12.0f, actual);
      for (size_t i = 0; i < size; ++i) ASSERT_EQ(actual[i], start[i] * 12.0f);
    }
  });
}

TEST(Clamp, BoundsEveryElementOnBothSides) {
  testing::OnEveryTarget([&] {
    for (const size_t size : kSizes) {
      const auto start = RandomFloats(size, 10, 4.0);
      auto actual = start;
      Clamp(1.5f, actual);
      for (size_t i = 0; i < size; ++i) ASSERT_EQ(actual[i], std::clamp(start[i], -1.5f, 1.5f));
    }
  });
}

// Where a NaN stands in whole vectors and in the rest behind them.
constexpr size_t kNanPlaces[] = {0, 7, 32};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Softmax, MakesNoProbabilityOfNan) {
  testing::OnEveryTarget([&] {
    for (const size_t place : kNanPlaces) {
      auto values = RandomFloats(33, 13);
      values[place] = kNan;
      Softmax(values);
      EXPECT_TRUE(std::isnan(values[place])) << place;
    }
  });
}

TEST(ClampedSwiGlu, KeepsNanOfGateAndUp) {
  testing::OnEveryTarget([&] {
    for (const size_t place : kNanPlaces) {
      auto up = RandomFloats(33, 14);
      auto gate = RandomFloats(33, 15);
      gate[place] = kNan;
      ClampedSwiGlu(up, 7.0f, gate);
      EXPECT_TRUE(std::isnan(gate[place])) << place;
      gate = RandomFloats(33, 15);
      up[place] = kNan;
      ClampedSwiGlu(up, 7.0f, gate);
      EXPECT_TRUE(std::isnan(gate[place])) << place;
    }
  });
}

TEST(Clamp, KeepsNan) {
  testing::OnEveryTarget([&] {
    for (const size_t place : kNanPlaces) {
      auto values = RandomFloats(33, 16);
      values[place] = kNan;
      Clamp(0.5f, values);
      EXPECT_TRUE(std::isnan(values[place])) << place;
    }
  });
}

TEST(AllFinite, SeesNanAndInfinityAtEveryPlace) {
  testing::OnEveryTarget([&] {
    for (const size_t size : kSizes) {
      auto values = RandomFloats(size, 17, std::numeric_limits<float>::max());
      EXPECT_TRUE(AllFinite(values));
      for (size_t i = 0; i < size; ++i) {
        const float value = values[i];
        for (const float broken : {kNan, -kNan, kInfinity, -kInfinity}) {
          values[i] = broken;
          ASSERT_FALSE(AllFinite(values)) << broken << " at " << i << " of " << size;
        }
        values[i] = value;
      }
    }
  });
}

}  // namespace
}  // namespace npumoe
