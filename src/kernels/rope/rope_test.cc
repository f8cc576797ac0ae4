#include "kernels/rope/rope.h"

#include <gtest/gtest.h>

#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::AsMatrix;
using testing::RandomFloats;

TEST(Rope, FrequenciesAreThePowersOfTheta) {
  const std::vector<float> f = RopeInverseFrequencies(8, 1e6);
  ASSERT_EQ(f.size(), 4u);
  for (size_t i = 0; i < f.size(); ++i) {
    const double exact = std::pow(1e6, -2.0 * static_cast<double>(i) / 8);
    // Rounding the power and its inverse: 2 u relative; the exponents of this size are exact.
    EXPECT_NEAR(f[i], exact, 2 * testing::kUnitRoundoff * exact);
  }
}

TEST(Rope, EqualsTheReferenceForEveryTargetHeadSizeAndPosition) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const int head_dim : {2, 6, 64, 128}) {
      const std::vector<float> f = RopeInverseFrequencies(head_dim, 1e6);
      for (const int64_t position : {0, 1, 700, 40'000}) {
        constexpr int64_t kRows = 90;
        const int64_t columns = 3 * head_dim;
        auto expected = RandomFloats(static_cast<size_t>(kRows * columns), 1);
        auto actual = expected;
        RopeReference(AsMatrix(expected, kRows, columns), head_dim, f, position);
        Rope(AsMatrix(actual, kRows, columns), head_dim, f, position, pool);
        // Same angles and tables; two products and a sum in fp32, fused or not: 3 u (|a| + |b|).
        testing::ExpectWithin(actual, expected, 6 * testing::kUnitRoundoff);
      }
    }
  });
}

TEST(Rope, GivesARowTheSameBitsInAnyChunk) {
  ThreadPool pool(2);
  const std::vector<float> f = RopeInverseFrequencies(64, 1e4);
  auto together = RandomFloats(100 * 128, 2);
  auto apart = together;
  Rope(AsMatrix(together, 100, 128), 64, f, 37, pool);
  for (int64_t r = 0; r < 100; ++r) {
    Rope({apart.data() + r * 128, 1, 128, 128}, 64, f, 37 + r, pool);
  }
  EXPECT_EQ(together, apart);
}

TEST(Rope, KeepsTablesOfDifferentFrequenciesApart) {
  ThreadPool pool(1);
  for (const double theta : {1e4, 1e6, 1e4, 5e5, 1e3, 1e2, 1e6}) {
    const std::vector<float> f = RopeInverseFrequencies(16, theta);
    auto expected = RandomFloats(3 * 16, 3);
    auto actual = expected;
    RopeReference(AsMatrix(expected, 3, 16), 16, f, 11);
    Rope(AsMatrix(actual, 3, 16), 16, f, 11, pool);
    testing::ExpectWithin(actual, expected, 6 * testing::kUnitRoundoff);
  }
}

}  // namespace
}  // namespace npumoe
