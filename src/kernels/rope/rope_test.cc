#include "kernels/rope/rope.h"

#include <gtest/gtest.h>

#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::AsMatrix;
using testing::RandomFloats;

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

// A part of every head, scaled, its pairs side by side or half a head apart.
TEST(Rope, EqualsTheReferenceForPartsOfHeadsScalesAndBothOrders) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const bool interleaved : {false, true}) {
      for (const int rotary_dim : {2, 22, 64}) {
        const std::vector<float> f = RopeInverseFrequencies(rotary_dim, 1e4);
        constexpr int64_t kRows = 90, kHeadDim = 70;
        auto expected = RandomFloats(kRows * 3 * kHeadDim, 4);
        auto actual = expected;
        RopeArgs args{AsMatrix(expected, kRows, 3 * kHeadDim),
                      kHeadDim,
                      5,
                      rotary_dim,
                      f,
                      1.25f,
                      interleaved,
                      7};
        RopeReference(args);
        args.rows = AsMatrix(actual, kRows, 3 * kHeadDim);
        Rope(args, pool);
        // As above, times the scale.
        testing::ExpectWithin(actual, expected, 1.25 * 6 * testing::kUnitRoundoff);
      }
    }
  });
}

TEST(Rope, LeavesWhatDoesNotTurnUntouched) {
  ThreadPool pool(1);
  const std::vector<float> f = RopeInverseFrequencies(8, 1e4);
  const auto before = RandomFloats(2 * 20, 5);
  auto after = before;
  Rope({AsMatrix(after, 1, 40), 20, 6, 8, f, 1, true, 3}, pool);
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(after[i] == before[i], i % 20 < 6 || i % 20 >= 14) << i;
  }
}

TEST(Rope, BringsInterleavedPairsIntoHalfSplitOrder) {
  ThreadPool pool(1);
  const std::vector<float> f = RopeInverseFrequencies(32, 1e4);
  auto halves = RandomFloats(9 * 32, 6);
  std::vector<float> pairs(halves.size());
  for (size_t i = 0; i < halves.size(); ++i) {
    const size_t element = i % 32;
    pairs[i - element + 2 * (element % 16) + element / 16] = halves[i];
  }
  Rope({AsMatrix(halves, 9, 32), 32, 0, 0, f, 1, false, 11}, pool);
  Rope({AsMatrix(pairs, 9, 32), 32, 0, 0, f, 1, true, 11}, pool);
  EXPECT_EQ(pairs, halves);
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

TEST(Rope, KeepsTablesOfDifferentScalesApart) {
  ThreadPool pool(1);
  const std::vector<float> f = RopeInverseFrequencies(16, 1e4);
  for (const float scale : {1.0f, 1.5f, 1.0f}) {
    auto expected = RandomFloats(3 * 16, 7);
    auto actual = expected;
    RopeReference({AsMatrix(expected, 3, 16), 16, 0, 0, f, scale, false, 11});
    Rope({AsMatrix(actual, 3, 16), 16, 0, 0, f, scale, false, 11}, pool);
    testing::ExpectWithin(actual, expected, double{scale} * 6 * testing::kUnitRoundoff);
  }
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
