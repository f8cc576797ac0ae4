#include "kernels/router/router.h"

#include <gtest/gtest.h>

#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::AsMatrix;
using testing::RandomFloats;

TEST(RouteTopK, ChoosesTheExpertsAndWeightsOfTheReference) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const bool normalize : {false, true}) {
      for (const int64_t experts : {1, 5, 60, 128}) {
        const int k = static_cast<int>(std::min<int64_t>(experts, 8));
        constexpr int64_t kTokens = 200;
        auto logits = RandomFloats(static_cast<size_t>(kTokens * experts), 1, 10.0);
        std::vector<int32_t> ids(static_cast<size_t>(kTokens * k)), expected_ids(ids.size());
        std::vector<float> weights(ids.size()), expected(ids.size());
        RouteTopKReference(AsMatrix(logits, kTokens, experts), k, normalize, expected_ids,
                           expected);
        RouteTopK(AsMatrix(logits, kTokens, experts), k, normalize, ids, weights, pool);
        EXPECT_EQ(ids, expected_ids);
        // exp is exact to 2 u in both, sums of up to 128 and 8 positive numbers to their length
        // times u, on weights of at most 1.
        testing::ExpectWithin(weights, expected, (2 * 128 + 2 * 8 + 6) * testing::kUnitRoundoff);
      }
    }
  });
}

TEST(RouteTopK, PrefersTheSmallerIndexOnTies) {
  ThreadPool pool(1);
  std::vector<float> logits = {1, 3, 3, 0, 3, 1};
  std::vector<int32_t> ids(5);
  std::vector<float> weights(5);
  RouteTopK(AsMatrix(logits, 1, 6), 5, true, ids, weights, pool);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 2, 4, 0, 5}));
}

TEST(RouteTopK, GivesUnderflowingExpertsWeightZeroInIndexOrder) {
  ThreadPool pool(1);
  std::vector<float> logits = {-400, 0, -300, -500};
  std::vector<int32_t> ids(3);
  std::vector<float> weights(3);
  RouteTopK(AsMatrix(logits, 1, 4), 3, false, ids, weights, pool);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 0, 2}));
  EXPECT_EQ(weights, (std::vector<float>{1, 0, 0}));
}

}  // namespace
}  // namespace npumoe
