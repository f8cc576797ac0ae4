#include "npu/emulator/workspace.h"

#include <algorithm>
#include <map>

#include "base/checked_math.h"

namespace npumoe::emulator {
namespace {

constexpr int64_t kAlignmentFloats = 32;  // 128 bytes, as AlignedBuffer

struct Lifetime {
  int64_t first = -1;
  int64_t last = -1;
};

std::vector<Lifetime> FindLifetimes(std::span<const Step> steps, size_t blocks) {
  std::vector<Lifetime> lifetimes(blocks);
  for (size_t i = 0; i < steps.size(); ++i) {
    for (BlockId id : steps[i].blocks) {
      Lifetime& life = lifetimes[static_cast<size_t>(id)];
      if (life.first < 0) life.first = static_cast<int64_t>(i);
      life.last = static_cast<int64_t>(i);
    }
  }
  return lifetimes;
}

// Ranges in use, by offset. First fit.
class Ranges {
 public:
  int64_t Take(int64_t size) {
    int64_t offset = 0;
    for (const auto& [begin, end] : used_) {
      if (begin - offset >= size) break;
      offset = end;
    }
    used_[offset] = offset + size;
    peak_ = std::max(peak_, offset + size);
    return offset;
  }
  void Free(int64_t offset) { used_.erase(offset); }
  int64_t peak() const { return peak_; }

 private:
  std::map<int64_t, int64_t> used_;
  int64_t peak_ = 0;
};

}  // namespace

int64_t PlaceBlocks(std::span<const Step> steps, std::vector<Block>& blocks) {
  const std::vector<Lifetime> lifetimes = FindLifetimes(steps, blocks.size());
  Ranges ranges;
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto step = static_cast<int64_t>(i);
    for (BlockId id : steps[i].blocks) {
      Block& block = blocks[static_cast<size_t>(id)];
      if (block.constant != nullptr || block.offset >= 0) continue;
      block.offset =
          ranges.Take(std::max(kAlignmentFloats, RoundUp(block.elements, kAlignmentFloats)));
    }
    for (BlockId id : steps[i].blocks) {
      const Block& block = blocks[static_cast<size_t>(id)];
      if (block.constant != nullptr || lifetimes[static_cast<size_t>(id)].last != step) continue;
      ranges.Free(block.offset);
    }
  }
  return ranges.peak();
}

}  // namespace npumoe::emulator
