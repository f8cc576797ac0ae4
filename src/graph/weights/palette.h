// Tables of a palettised matrix: k-means over its values, which fp16 makes at most 63488 different
// ones, so that the clusters are found on a histogram: exactly, and without looking at the matrix
// again. Nothing is random: equal matrices have equal tables.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace npumoe {

class Fp16Histogram {
 public:
  Fp16Histogram() : counts_(65536) {}
  // `bits` are those of a finite number.
  void Add(uint16_t bits, uint64_t count = 1) { counts_[bits] += count; }
  std::span<const uint64_t> counts() const { return counts_; }

 private:
  std::vector<uint64_t> counts_;
};

struct Palette {
  std::vector<uint16_t> table;         // fp16, ascending
  std::vector<uint8_t> index_of_bits;  // 65536: of each fp16 number in the histogram, its nearest
};

// `entries` is at most 256. A matrix with no more different values keeps them exactly.
Palette FindPalette(const Fp16Histogram& histogram, int entries);

}  // namespace npumoe
