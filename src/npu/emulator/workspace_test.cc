#include "npu/emulator/workspace.h"

#include <gtest/gtest.h>

namespace npumoe::emulator {
namespace {

std::vector<Step> Steps(const std::vector<std::vector<BlockId>>& uses) {
  std::vector<Step> steps;
  for (const auto& blocks : uses) steps.push_back({blocks, nullptr});
  return steps;
}

TEST(Workspace, BlocksThatLiveTogetherDoNotOverlap) {
  std::vector<Block> blocks(6);
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i].elements = static_cast<int64_t>(10 + 37 * i);
  const std::vector<std::vector<BlockId>> uses = {{0, 1}, {1, 2}, {0, 3}, {3, 2}, {4, 3}, {5, 4}};
  PlaceBlocks(Steps(uses), blocks);
  for (BlockId a = 0; a < 6; ++a) {
    for (BlockId b = a + 1; b < 6; ++b) {
      const auto span = [&](BlockId id) {
        std::pair<size_t, size_t> life{uses.size(), 0};
        for (size_t s = 0; s < uses.size(); ++s) {
          if (std::find(uses[s].begin(), uses[s].end(), id) == uses[s].end()) continue;
          life = {std::min(life.first, s), std::max(life.second, s)};
        }
        return life;
      };
      const auto [a_first, a_last] = span(a);
      const auto [b_first, b_last] = span(b);
      if (a_last < b_first || b_last < a_first) continue;
      const Block& x = blocks[static_cast<size_t>(a)];
      const Block& y = blocks[static_cast<size_t>(b)];
      EXPECT_TRUE(x.offset + x.elements <= y.offset || y.offset + y.elements <= x.offset)
          << a << " " << b;
    }
  }
}

TEST(Workspace, AChainNeedsOnlyTwoBlocksOfMemory) {
  std::vector<Block> blocks(100);
  std::vector<std::vector<BlockId>> uses;
  for (Block& block : blocks) block.elements = 64;
  for (BlockId i = 0; i + 1 < 100; ++i) uses.push_back({i, i + 1});
  EXPECT_EQ(PlaceBlocks(Steps(uses), blocks), 128);
}

TEST(Workspace, ConstantsTakeNoPlace) {
  const float value = 1;
  std::vector<Block> blocks(2);
  blocks[0] = {.elements = 1000, .offset = -1, .constant = &value};
  blocks[1].elements = 32;
  EXPECT_EQ(PlaceBlocks(Steps({{0, 1}}), blocks), 32);
}

}  // namespace
}  // namespace npumoe::emulator
