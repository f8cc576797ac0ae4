// Workspace of a launch: every intermediate value of a program is a block of floats; blocks whose
// lifetimes do not meet share memory. Planned once, at load.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/thread_pool.h"

namespace npumoe::emulator {

using BlockId = int;

struct Block {
  int64_t elements = 0;
  int64_t offset = -1;              // in the workspace, in floats; -1: never used by a step
  const float* constant = nullptr;  // set: lives outside the workspace and is only read
};

// Everything that one execution of the steps needs.
struct Launch {
  std::span<const Block> blocks;
  float* workspace = nullptr;
  std::span<const std::span<const std::byte>> inputs;
  std::span<const std::span<std::byte>> outputs;
  ThreadPool* pool = nullptr;

  std::span<float> Write(BlockId id) const {
    const Block& block = blocks[static_cast<size_t>(id)];
    return {workspace + block.offset, static_cast<size_t>(block.elements)};
  }
  std::span<const float> Read(BlockId id) const {
    const Block& block = blocks[static_cast<size_t>(id)];
    const float* data = block.constant != nullptr ? block.constant : workspace + block.offset;
    return {data, static_cast<size_t>(block.elements)};
  }
};

struct Step {
  std::vector<BlockId> blocks;  // read or written
  std::function<void(const Launch&)> run;
};

// Gives every block that a step touches its offset; returns the floats that the workspace needs.
// A block lives from the first step that names it to the last.
int64_t PlaceBlocks(std::span<const Step> steps, std::vector<Block>& blocks);

}  // namespace npumoe::emulator
