#include "kernels/dispatch/dispatch.h"

#include <gtest/gtest.h>

#include <numeric>

#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::AsMatrix;
using testing::RandomFloats;

constexpr int kSlots = 4;

std::vector<int32_t> RandomIds(size_t tokens, int experts, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> ids(tokens * kSlots);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint64_t>(experts));
  return ids;
}

TEST(BuildExpertLists, ListsEveryAssignmentOnceUnderItsExpertInTokenOrder) {
  const std::vector<int32_t> ids = RandomIds(50, 7, 1);
  ExpertLists lists;
  BuildExpertLists(ids, kSlots, 9, lists);
  ASSERT_EQ(lists.offsets.size(), 10u);
  size_t listed = 0;
  for (int expert = 0; expert < 9; ++expert) {
    int32_t previous = -1;
    for (const int32_t a : lists.Of(expert)) {
      EXPECT_EQ(ids[static_cast<size_t>(a)], expert);
      EXPECT_GT(a, previous);
      previous = a;
      ++listed;
    }
  }
  EXPECT_EQ(listed, ids.size());
}

TEST(BuildExpertLists, ReusesListsOfAnotherShape) {
  ExpertLists lists;
  BuildExpertLists(RandomIds(100, 20, 2), kSlots, 20, lists);
  BuildExpertLists(std::vector<int32_t>{1, 0, 1, 1}, 2, 2, lists);
  EXPECT_EQ(lists.offsets, (std::vector<int32_t>{0, 1, 4}));
  EXPECT_EQ(lists.assignments, (std::vector<int32_t>{1, 0, 2, 3}));
}

struct Gather {
  int64_t rows, channels, capacity;
};
constexpr Gather kGathers[] = {{1, 1, 1},     {5, 70, 8}, {32, 64, 32},
                               {45, 130, 64}, {0, 9, 4},  {200, 300, 233}};

std::vector<int32_t> SomeAssignments(int64_t rows, int64_t tokens) {
  std::vector<int32_t> assignments(static_cast<size_t>(rows));
  std::mt19937_64 random(3);
  for (int32_t& a : assignments) {
    a = static_cast<int32_t>(random() % static_cast<uint64_t>(tokens * kSlots));
  }
  return assignments;
}

TEST(Gather, EqualsTheReferenceInEveryLayout) {
  ThreadPool pool(2);
  constexpr int64_t kTokens = 60;
  testing::OnEveryTarget([&] {
    for (const Gather& g : kGathers) {
      SCOPED_TRACE(::testing::Message() << g.rows << " of " << g.capacity << " rows");
      auto hidden = RandomFloats(static_cast<size_t>(kTokens * g.channels), 4, 3.0);
      const Matrix in = AsMatrix(hidden, kTokens, g.channels);
      const auto assignments = SomeAssignments(g.rows, kTokens);
      const auto size = static_cast<size_t>(g.capacity * g.channels);
      std::vector<uint16_t> actual(size, 0x7777), expected(size, 0x1111);
      GatherTransposedF16Reference(in, assignments, kSlots, g.capacity, expected.data());
      GatherTransposedF16(in, assignments, kSlots, g.capacity, actual.data(), pool);
      EXPECT_EQ(actual, expected);
      GatherRowsF16Reference(in, assignments, kSlots, g.capacity, expected.data());
      GatherRowsF16(in, assignments, kSlots, g.capacity, actual.data(), pool);
      EXPECT_EQ(actual, expected);
      std::vector<float> rows(size, 7.0f), expected_rows(size, 7.0f);
      GatherRowsReference(in, assignments, kSlots, AsMatrix(expected_rows, g.capacity, g.channels));
      GatherRows(in, assignments, kSlots, AsMatrix(rows, g.capacity, g.channels), pool);
      EXPECT_EQ(rows, expected_rows);
    }
  });
}

// Rows of all layouts, taken in turn, over shared sources.
struct Combine {
  Combine(int64_t tokens, int64_t channels, bool with_columns)
      : rows(static_cast<size_t>(tokens * kSlots)),
        weights(RandomFloats(rows.size(), 5)),
        residual(RandomFloats(static_cast<size_t>(tokens * channels), 6)),
        floats(RandomFloats(rows.size() * static_cast<size_t>(channels), 7)),
        halves(floats.size()) {
    for (size_t i = 0; i < halves.size(); ++i) halves[i] = F16FromF32(floats[i]);
    for (size_t i = 0; i < rows.size(); ++i) {
      const size_t begin = i * static_cast<size_t>(channels);
      switch (i % (with_columns ? 4 : 3)) {
        case 0:
          rows[i] = {floats.data() + begin, 1, OutputRow::Layout::kF32Row};
          break;
        case 1:
          rows[i] = {halves.data() + begin, 1, OutputRow::Layout::kF16Row};
          break;
        case 3:
          rows[i] = {halves.data() + i, static_cast<int64_t>(rows.size()),
                     OutputRow::Layout::kF16Column};
          break;
        default:
          break;  // dropped
      }
    }
  }
  std::vector<OutputRow> rows;
  std::vector<float> weights, residual, floats;
  std::vector<uint16_t> halves;
};

TEST(CombineRows, EqualsTheReferenceForEveryLayoutAndTarget) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const bool with_columns : {false, true}) {
      for (const int64_t channels : {1, 33, 64, 200}) {
        constexpr int64_t kTokens = 90;
        Combine c(kTokens, channels, with_columns);
        std::vector<float> expected = c.residual;
        CombineRowsReference(c.rows, c.weights, kSlots, AsMatrix(expected, kTokens, channels));
        std::vector<float> actual = c.residual;
        CombineRows(c.rows, c.weights, kSlots, AsMatrix(actual, kTokens, channels), pool);
        // Four products and sums of magnitude below 5, fused or not.
        testing::ExpectWithin(actual, expected, 8 * 5 * testing::kUnitRoundoff);
      }
    }
  });
}

TEST(CombineRows, GivesTheSameBitsForAnyNumberOfThreads) {
  ThreadPool one(1);
  ThreadPool three(3);
  Combine c(300, 150, true);
  std::vector<float> expected = c.residual;
  CombineRows(c.rows, c.weights, kSlots, AsMatrix(expected, 300, 150), one);
  std::vector<float> actual = c.residual;
  CombineRows(c.rows, c.weights, kSlots, AsMatrix(actual, 300, 150), three);
  EXPECT_EQ(actual, expected);
}

}  // namespace
}  // namespace npumoe
