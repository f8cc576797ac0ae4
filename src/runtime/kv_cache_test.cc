#include "runtime/kv_cache.h"

#include <gtest/gtest.h>

#include <limits>

namespace npumoe {
namespace {

TEST(KvCache, TakesNoMemoryBeforeItIsNeeded) {
  const KvCache cache(48, {1024, 1024}, int64_t{1} << 40);
  EXPECT_EQ(cache.bytes(), 0);
}

TEST(KvCache, GrowsInStepsNotToItsMaximum) {
  KvCache cache(2, {8, 8}, 100000);
  ASSERT_TRUE(cache.Reserve(10).ok());
  EXPECT_EQ(cache.capacity_tokens(), 256);
  EXPECT_EQ(cache.bytes(), 2 * 2 * 256 * 8 * 4);
}

TEST(KvCache, NeverGrowsBeyondItsMaximum) {
  KvCache cache(1, {8, 8}, 300);
  ASSERT_TRUE(cache.Reserve(257).ok());
  EXPECT_EQ(cache.capacity_tokens(), 300);
}

TEST(KvCache, KeepsItsRowsWhenItGrows) {
  KvCache cache(2, {8, 8}, 100000);
  ASSERT_TRUE(cache.Reserve(256).ok());
  cache.Keys(1, 255, 1).Row(0)[7] = 3.5f;
  cache.Values(0, 0, 1).Row(0)[0] = -1.0f;
  ASSERT_TRUE(cache.Reserve(5000).ok());
  EXPECT_EQ(cache.Keys(1, 255, 1).Row(0)[7], 3.5f);
  EXPECT_EQ(cache.Values(0, 0, 1).Row(0)[0], -1.0f);
}

TEST(KvCache, RefusesMoreThanItsMaximumWithBothNumbers) {
  KvCache cache(1, {8, 8}, 300);
  const Status status = cache.Reserve(301);
  EXPECT_NE(status.message().find("301"), std::string::npos);
  EXPECT_NE(status.message().find("300"), std::string::npos);
}

TEST(KvCache, RunningOutOfMemoryIsAnError) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers end the program at allocations this large";
#endif
  KvCache cache(1, {1024, 1024}, int64_t{1} << 46);
  EXPECT_EQ(cache.Reserve(int64_t{1} << 46).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(cache.capacity_tokens(), 0);
}

TEST(KvCache, KeepsKeysAloneWhereThereAreNoValues) {
  KvCache cache(2, {8, 0}, 1000);
  ASSERT_TRUE(cache.Reserve(256).ok());
  EXPECT_EQ(cache.bytes(), 2 * 256 * 8 * 4);
  EXPECT_EQ(cache.Values(0, 0, 10).columns, 0);
}

}  // namespace
}  // namespace npumoe
