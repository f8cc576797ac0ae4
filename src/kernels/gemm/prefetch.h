// Fetches a block of memory into the second-level cache a few lines at a time, so that it arrives
// while the tiles of the block before it are computed. Hardware prefetchers follow single streams;
// they do not know which short rows a blocked product visits next.
#pragma once

#include <cstdint>

#include "base/checked_math.h"

namespace npumoe {

struct MemoryBlock {
  const void* data = nullptr;
  int64_t rows = 0;
  int64_t row_bytes = 0;
  int64_t stride_bytes = 0;
};

class GradualPrefetch {
 public:
  GradualPrefetch() = default;  // nothing to fetch
  // The whole block is fetched after `steps` calls of Next.
  GradualPrefetch(const MemoryBlock& block, int64_t steps)
      : block_(block),
        lines_per_step_(
            DivideRoundUp(DivideRoundUp(block.row_bytes, kLineBytes) * block.rows, steps)) {}

  void Next() {
    for (int64_t i = 0; i < lines_per_step_ && row_ < block_.rows; ++i) {
      const char* line =
          static_cast<const char*>(block_.data) + row_ * block_.stride_bytes + offset_;
      __builtin_prefetch(line, 0, 2);
      offset_ += kLineBytes;
      if (offset_ < block_.row_bytes) continue;
      offset_ = 0;
      ++row_;
    }
  }

 private:
  static constexpr int64_t kLineBytes = 64;
  MemoryBlock block_;
  int64_t lines_per_step_ = 0;
  int64_t row_ = 0;
  int64_t offset_ = 0;
};

}  // namespace npumoe
