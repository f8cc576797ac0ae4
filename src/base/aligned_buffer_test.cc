#include "base/aligned_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

namespace npumoe {
namespace {

TEST(AlignedBuffer, StartsOnItsAlignmentWithZeros) {
  const AlignedBuffer<float> buffer(33);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % AlignedBuffer<float>::kAlignment, 0u);
  EXPECT_TRUE(std::ranges::all_of(buffer.span(), [](float value) { return value == 0.0f; }));
}

TEST(AlignedBuffer, KeepsItsMemoryWhenItIsLargeEnough) {
  AlignedBuffer<int32_t> buffer(64);
  const int32_t* const before = buffer.data();
  buffer.EnsureSize(32);
  EXPECT_EQ(buffer.data(), before);
  EXPECT_EQ(buffer.size(), 64u);
  buffer.EnsureSize(65);
  EXPECT_EQ(buffer.size(), 65u);
}

TEST(AlignedBuffer, MayBeEmpty) {
  const AlignedBuffer<float> buffer(0);
  EXPECT_TRUE(buffer.span().empty());
}

}  // namespace
}  // namespace npumoe
