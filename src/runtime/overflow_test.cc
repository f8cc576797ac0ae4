#include "runtime/overflow.h"

#include <gtest/gtest.h>

#include <limits>

namespace npumoe {
namespace {

TEST(Overflow, KeepsTheMostSalientInTokenOrder) {
  // Four tokens, top-1; saliency 1*1, 4*0.5, 2*0.25, 3*1.
  std::vector<int32_t> assignments{0, 1, 2, 3};
  const std::vector<float> weights{1, 0.5f, 0.25f, 1};
  const std::vector<float> norms{1, 4, 2, 3};
  KeepMostSalient(assignments, 2, 1, weights, norms);
  EXPECT_EQ(assignments, (std::vector<int32_t>{1, 3, 0, 2}));
}

TEST(Overflow, PrefersTheEarlierTokenOnATie) {
  std::vector<int32_t> assignments{1, 3, 5};
  const std::vector<float> weights{0, 1, 0, 1, 0, 1};
  const std::vector<float> norms{2, 2, 2};
  KeepMostSalient(assignments, 1, 2, weights, norms);
  EXPECT_EQ(assignments, (std::vector<int32_t>{1, 3, 5}));
}

TEST(Overflow, LeavesAListWithinItsCapacityAlone) {
  std::vector<int32_t> assignments{0, 1};
  const std::vector<float> weights{1, 2};
  const std::vector<float> norms{1, 1};
  KeepMostSalient(assignments, 2, 1, weights, norms);
  EXPECT_EQ(assignments, (std::vector<int32_t>{0, 1}));
}

TEST(Overflow, SurvivesNan) {
  std::vector<int32_t> assignments{0, 1, 2};
  const std::vector<float> weights{std::numeric_limits<float>::quiet_NaN(), 1, 2};
  const std::vector<float> norms{1, 1, 1};
  KeepMostSalient(assignments, 2, 1, weights, norms);
  EXPECT_EQ(assignments, (std::vector<int32_t>{1, 2, 0}));
}

TEST(Overflow, NormsAreEuclidean) {
  ThreadPool pool(1);
  const std::vector<float> rows{3, 4, 0, 0};
  std::vector<float> norms;
  RowNorms({rows.data(), 2, 2, 2}, norms, pool);
  EXPECT_EQ(norms, (std::vector<float>{5, 0}));
}

}  // namespace
}  // namespace npumoe
