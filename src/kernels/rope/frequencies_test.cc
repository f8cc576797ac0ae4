#include <gtest/gtest.h>

#include <utility>

#include "kernels/rope/rope.h"
#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::kUnitRoundoff;

TEST(RopeFrequencies, AreThePowersOfTheta) {
  const std::vector<float> f = RopeInverseFrequencies(8, 1e6);
  ASSERT_EQ(f.size(), 4u);
  for (size_t i = 0; i < f.size(); ++i) {
    const double exact = std::pow(1e6, -2.0 * static_cast<double>(i) / 8);
    // Rounding the power and its inverse: 2 u relative; the exponents of this size are exact.
    EXPECT_NEAR(f[i], exact, 2 * kUnitRoundoff * exact);
  }
}

using Expected = std::vector<std::pair<size_t, double>>;

// Expected values: the formula of the YaRN paper in double precision. Power, inverses, products
// and sum make 6 u; the ramp's 3 u count against the interpolated part, 1 / factor of the whole.
void ExpectFrequencies(const std::vector<float>& f, const Expected& expected, double factor) {
  for (const auto& [i, value] : expected) {
    EXPECT_NEAR(f[i], value, (6 + 3 * factor) * kUnitRoundoff * value) << i;
  }
}

TEST(RopeFrequencies, OfYarnFollowTheRampBetweenWholePairs) {
  // DeepSeek-V2: pairs 10.47 and 22.51 turn 32 times and once, the ramp goes from 10 to 23.
  const YarnParameters yarn{.factor = 40, .original_max_positions = 4096};
  const std::vector<float> f = YarnInverseFrequencies(64, 1e4, yarn);
  ASSERT_EQ(f.size(), 32u);
  ExpectFrequencies(f,
                    {{0, 1},
                     {5, 0.237137371},
                     {10, 0.0562341325},
                     {11, 0.0390069266},
                     {15, 0.00833450895},
                     {22, 0.000177827941},
                     {23, 3.33380358e-05},
                     {31, 3.33380358e-06}},
                    40);
}

TEST(RopeFrequencies, OfYarnFollowAnUnroundedRamp) {
  // gpt-oss: from 8.09 to 17.40.
  const YarnParameters yarn{.factor = 32, .original_max_positions = 4096, .truncate = false};
  const std::vector<float> f = YarnInverseFrequencies(64, 150000, yarn);
  ExpectFrequencies(f,
                    {{0, 1},
                     {5, 0.155322989},
                     {10, 0.0193350011},
                     {11, 0.0115920493},
                     {15, 0.0010526021},
                     {22, 8.63549588e-06},
                     {31, 3.02351143e-07}},
                    32);
}

TEST(RopeFrequencies, OfYarnStepWhereTheRampHasNoLength) {
  // The ramp begins below the first pair, is moved to it, and its rounded end lies there too.
  const YarnParameters yarn{.factor = 4, .original_max_positions = 4};
  const std::vector<float> plain = RopeInverseFrequencies(16, 1e4);
  const std::vector<float> f = YarnInverseFrequencies(16, 1e4, yarn);
  ASSERT_EQ(f.size(), plain.size());
  EXPECT_EQ(f[0], plain[0]);
  for (size_t i = 1; i < f.size(); ++i) EXPECT_EQ(f[i], plain[i] / 4) << i;
}

TEST(RopeFrequencies, OfYarnAreThePlainOnesForFactorOne) {
  const YarnParameters yarn{.factor = 1, .original_max_positions = 4096};
  const std::vector<float> plain = RopeInverseFrequencies(64, 1e6);
  const std::vector<float> f = YarnInverseFrequencies(64, 1e6, yarn);
  for (size_t i = 0; i < f.size(); ++i) {
    EXPECT_NEAR(f[i], plain[i], 4 * kUnitRoundoff * double{plain[i]}) << i;
  }
}

TEST(RopeFrequencies, OfLongRopeAreDividedByTheirFactors) {
  const std::vector<double> factors = {1, 1.158349, 3.387044, 9.124745};
  const std::vector<float> f = LongRopeInverseFrequencies(8, 1e4, factors);
  ASSERT_EQ(f.size(), 4u);
  for (size_t i = 0; i < f.size(); ++i) {
    const double exact = std::pow(1e4, -2.0 * static_cast<double>(i) / 8) / factors[i];
    // Power, factor, product and inverse.
    EXPECT_NEAR(f[i], exact, 4 * kUnitRoundoff * exact) << i;
  }
}

}  // namespace
}  // namespace npumoe
