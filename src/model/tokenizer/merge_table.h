// MergeTable: (left id, right id) -> rank and merged id. Open addressing in one flat array: the
// look-up is the inner loop of BPE.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

namespace npumoe {

struct Merge {
  uint32_t rank = 0;  // smaller is merged first
  int32_t id = 0;
};

class MergeTable {
 public:
  explicit MergeTable(size_t count) : slots_(std::bit_ceil(2 * count + 2)) {}

  // A later merge of the same pair replaces the earlier, as in the reference. At most `count`.
  void Put(int32_t left, int32_t right, Merge merge) {
    Slot& slot = slots_[Locate(Key(left, right))];
    slot = {Key(left, right), merge};
  }

  const Merge* Find(int32_t left, int32_t right) const {
    const Slot& slot = slots_[Locate(Key(left, right))];
    return slot.key == kEmpty ? nullptr : &slot.merge;
  }

 private:
  // Ids are not negative, so no pair has this key.
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };

  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  // The slot of `key`, or the empty one where it would go; half of the slots are always empty.
  size_t Locate(uint64_t key) const {
    // Fibonacci hashing: 2^64 / golden ratio spreads neighbouring ids over the table.
    const size_t mask = slots_.size() - 1;
    size_t index = static_cast<size_t>((key * 0x9E3779B97F4A7C15u) >> 32) & mask;
    while (slots_[index].key != kEmpty && slots_[index].key != key) index = (index + 1) & mask;
    return index;
  }

  std::vector<Slot> slots_;
};

}  // namespace npumoe
