#include "npu/worker/shared_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <vector>

namespace npumoe::worker {
namespace {

bool IsZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

TEST(SharedArena, GivesRangesThatDoNotOverlapAndAreZero) {
  SharedArena arena;
  std::mt19937 random(3);
  std::vector<std::pair<SharedRange, std::byte>> live;
  for (int round = 0; round < 600; ++round) {
    if (!live.empty() && random() % 2 == 0) {
      std::swap(live[random() % live.size()], live.back());
      for (const std::byte b : live.back().first.bytes) ASSERT_EQ(b, live.back().second);
      arena.Free(live.back().first);
      live.pop_back();
      continue;
    }
    auto range = arena.Allocate(random() % 100000);
    ASSERT_TRUE(range.ok()) << range.status().message();
    EXPECT_TRUE(IsZero(range->bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(range->bytes.data()) % 4096, 0u);
    const auto mark = static_cast<std::byte>(1 + round % 255);
    std::ranges::fill(range->bytes, mark);
    live.emplace_back(*range, mark);
  }
  for (const auto& [range, mark] : live) {
    for (const std::byte b : range.bytes) ASSERT_EQ(b, mark);
    EXPECT_EQ(range.segment, 0) << "freed ranges are used again";
    arena.Free(range);
  }
}

TEST(SharedArena, OpensAnotherSegmentForWhatDoesNotFit) {
  SharedArena arena;
  const auto small = arena.Allocate(100);
  const auto large = arena.Allocate(size_t{200} << 20);
  ASSERT_TRUE(small.ok() && large.ok());
  EXPECT_NE(small->segment, large->segment);
  EXPECT_GE(arena.Segment(large->segment).bytes, size_t{200} << 20);
}

TEST(SharedArena, RefusesWhatNoMemoryHolds) {
  SharedArena arena;
  EXPECT_EQ(arena.Allocate(size_t{1} << 60).status().code(), StatusCode::kResourceExhausted);
}

TEST(SharedSegment, IsSeenThroughItsDescriptor) {
  const auto segment = SharedSegment::Create(1 << 16);
  ASSERT_TRUE(segment.ok());
  const FileDescriptor copy(dup((*segment)->descriptor()));
  const auto other = SharedSegment::Map(copy, 1 << 16);
  ASSERT_TRUE(other.ok()) << other.status().message();
  (*segment)->bytes()[77] = std::byte{5};
  EXPECT_EQ((*other)->bytes()[77], std::byte{5});
}

TEST(SharedSegment, RefusesAFileThatIsTooShort) {
  const auto segment = SharedSegment::Create(1 << 16);
  const FileDescriptor copy(dup((*segment)->descriptor()));
  EXPECT_FALSE(SharedSegment::Map(copy, 1 << 17).ok());
  EXPECT_FALSE(SharedSegment::Map(FileDescriptor(), 1).ok());
}

#ifdef __linux__
TEST(SharedSegment, CannotBeShrunkByTheOtherSide) {
  const auto segment = SharedSegment::Create(1 << 16);
  EXPECT_NE(ftruncate((*segment)->descriptor(), 0), 0);
  (*segment)->bytes()[60000] = std::byte{1};  // no SIGBUS
}
#endif

}  // namespace
}  // namespace npumoe::worker
