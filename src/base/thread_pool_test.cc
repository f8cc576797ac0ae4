#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace npumoe {
namespace {

TEST(ThreadPool, RunsEveryIndexOnce) {
  ThreadPool pool(4);
  for (const int64_t count : {0, 1, 2, 3, 4, 5, 100, 1000}) {
    std::vector<int> runs(static_cast<size_t>(count), 0);
    pool.ParallelFor(count, [&](int64_t index, int) { ++runs[static_cast<size_t>(index)]; });
    EXPECT_TRUE(std::ranges::all_of(runs, [](int n) { return n == 1; })) << count;
  }
}

TEST(ThreadPool, ShowsWhatBodiesWroteToTheCallerAndToLaterBodies) {
  ThreadPool pool(3);
  std::vector<int64_t> values(64, 0);
  for (int round = 0; round < 2000; ++round) {
    pool.ParallelFor(64, [&](int64_t i, int) { values[static_cast<size_t>(63 - i)] += i; });
    pool.ParallelFor(64, [&](int64_t i, int) { values[static_cast<size_t>(i)] -= 63 - i; });
    ASSERT_EQ(std::ranges::count(values, 0), 64) << round;
  }
}

TEST(ThreadPool, GivesEachWorkerANumberThatNoOtherUsesAtTheSameTime) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> users(4);
  std::atomic<bool> shared = false;
  for (int round = 0; round < 200; ++round) {
    pool.ParallelFor(64, [&](int64_t, int worker) {
      if (users.at(static_cast<size_t>(worker)).fetch_add(1) != 0) shared = true;
      users.at(static_cast<size_t>(worker)).fetch_sub(1);
    });
  }
  EXPECT_FALSE(shared);
}

TEST(ThreadPool, UsesAllItsThreadsWhenBodiesWaitForEachOther) {
  ThreadPool pool(3);
  std::atomic<int> arrived = 0;
  pool.ParallelFor(3, [&](int64_t, int) {
    ++arrived;
    while (arrived.load() < 3) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 3);
}

TEST(ThreadPool, WakesSleepingWorkersAgain) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    const auto asleep = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
    while (std::chrono::steady_clock::now() < asleep) std::this_thread::yield();
    std::atomic<int> arrived = 0;
    pool.ParallelFor(3, [&](int64_t, int) {
      ++arrived;
      while (arrived.load() < 3) std::this_thread::yield();
    });
    EXPECT_EQ(arrived, 3);
  }
}

TEST(ThreadPool, OfOneThreadWorksOnTheCaller) {
  ThreadPool pool(1);
  std::set<std::thread::id> ids;
  pool.ParallelFor(10, [&](int64_t, int worker) {
    EXPECT_EQ(worker, 0);
    ids.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(ids, std::set<std::thread::id>{std::this_thread::get_id()});
}

TEST(ThreadPool, TakesCallsOfSeveralThreadsInTurn) {
  ThreadPool pool(3);
  std::vector<int64_t> unguarded(8, 0);  // a data race if two calls overlap
  const auto call_often = [&] {
    for (int round = 0; round < 300; ++round) {
      pool.ParallelFor(8, [&](int64_t i, int) { ++unguarded[static_cast<size_t>(i)]; });
    }
  };
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int i = 0; i < 4; ++i) callers.emplace_back(call_often);
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(std::ranges::count(unguarded, 4 * 300), 8);
}

TEST(ThreadPool, EndsWhileItsWorkersSpinOrSleep) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool pool(3);
    if (round % 2 == 0) pool.ParallelFor(3, [](int64_t, int) {});
  }
}

TEST(ThreadPool, HasAtLeastOneThreadByDefault) {
  const ThreadPool pool;
  EXPECT_GE(pool.threads(), 1);
  EXPECT_LE(pool.threads(), static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
}

TEST(ThreadPool, AllowsACallOfAnotherPoolInsideABody) {
  ThreadPool outer(2);
  ThreadPool inner(2);
  std::atomic<int> runs = 0;
  outer.ParallelFor(4, [&](int64_t, int) { inner.ParallelFor(4, [&](int64_t, int) { ++runs; }); });
  EXPECT_EQ(runs, 16);
}

TEST(ThreadPoolDeathTest, RefusesACallOfItselfInsideABody) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ThreadPool pool(2);
        pool.ParallelFor(2, [&](int64_t, int) { pool.ParallelFor(1, [](int64_t, int) {}); });
      },
      "check failed: running_pool != this");
}

struct Range {
  int64_t begin;
  int64_t end;
};

std::vector<Range> RangesOf(ThreadPool& pool, int64_t count, int64_t quantum) {
  std::mutex mutex;
  std::vector<Range> ranges;
  pool.ParallelRanges(count, quantum, [&](int64_t begin, int64_t end, int) {
    const std::lock_guard lock(mutex);
    ranges.push_back({begin, end});
  });
  std::ranges::sort(ranges, {}, &Range::begin);
  return ranges;
}

TEST(ParallelRanges, CoverEverythingOnceInMultiplesOfTheQuantum) {
  ThreadPool pool(2);
  for (const int64_t count : {1, 7, 8, 9, 63, 64, 65, 1000}) {
    int64_t covered = 0;
    for (const Range& range : RangesOf(pool, count, 8)) {
      EXPECT_EQ(range.begin, covered);
      EXPECT_EQ(range.begin % 8, 0);
      EXPECT_GT(range.end, range.begin);
      covered = range.end;
    }
    EXPECT_EQ(covered, count);
  }
}

TEST(ParallelRanges, AreAboutFourPerThread) {
  ThreadPool pool(2);
  EXPECT_EQ(RangesOf(pool, 8000, 1).size(), 8u);
  EXPECT_EQ(RangesOf(pool, 3, 1).size(), 3u);
  EXPECT_TRUE(RangesOf(pool, 0, 1).empty());
}

}  // namespace
}  // namespace npumoe
