#include "model/tokenizer/merge_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <tuple>

namespace npumoe {
namespace {

TEST(MergeQueue, GivesTheBestRankFirstAndOfEqualRanksTheLeftmost) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    MergeQueue queue;
    std::multiset<std::tuple<uint32_t, int32_t>> want;
    for (int step = 0; step < 400; ++step) {
      // More pushes than pops at first, into few and into many ranks.
      const bool pushes = want.empty() || random() % 400 > static_cast<unsigned>(step);
      if (pushes) {
        const uint32_t rank = random() % (round % 2 == 0 ? 4 : 100);
        const auto position = static_cast<int32_t>(random() % 1000);
        queue.Push({rank, position, 0, 0, 0});
        want.emplace(rank, position);
        continue;
      }
      const MergeCandidate got = queue.Pop();
      ASSERT_EQ(std::tuple(got.rank, got.position), *want.begin()) << "round " << round;
      want.erase(want.begin());
    }
    ASSERT_EQ(queue.IsEmpty(), want.empty());
  }
}

TEST(MergeQueue, IsEmptyOnceCleared) {
  MergeQueue queue;
  queue.Push({1, 2, 3, 4, 5});
  queue.Clear();
  EXPECT_TRUE(queue.IsEmpty());
}

}  // namespace
}  // namespace npumoe
