#include "graph/weights/palette.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"

namespace npumoe {
namespace {

// Different values in ascending order, with sums over all before each.
struct Values {
  std::vector<uint16_t> bits;
  std::vector<float> value;
  std::vector<double> count_before, sum_before;  // one more than values
};

constexpr int kBits = 65536;

// fp16 bit patterns from the lowest finite number to the highest.
template <class Visit>
void ForEachAscending(const Visit& visit) {
  for (int bits = 0xfbff; bits >= 0x8000; --bits) visit(static_cast<uint16_t>(bits));
  for (int bits = 0; bits <= 0x7bff; ++bits) visit(static_cast<uint16_t>(bits));
}

Values SortedValues(const Fp16Histogram& histogram) {
  Values values;
  values.count_before = values.sum_before = {0};
  ForEachAscending([&](uint16_t bits) {
    const auto count = static_cast<double>(histogram.counts()[bits]);
    if (count == 0) return;
    const float value = F32FromF16(bits);
    values.bits.push_back(bits);
    values.value.push_back(value);
    values.count_before.push_back(values.count_before.back() + count);
    values.sum_before.push_back(values.sum_before.back() + count * value);
  });
  return values;
}

// The best density of many small clusters is that of the values to the power of 1/3 (Panter and
// Dite): the start lies on its quantiles.
std::vector<double> FirstCentres(const Values& values, int entries) {
  constexpr int kBins = 2048;  // chosen: some dozens for each standard deviation of a weight
  const double low = values.value.front();
  const double width = (values.value.back() - low) / kBins;
  std::vector<double> mass(kBins, 0.0);
  for (size_t i = 0; i < values.value.size(); ++i) {
    const int bin = std::min(kBins - 1, static_cast<int>((values.value[i] - low) / width));
    mass[static_cast<size_t>(bin)] += values.count_before[i + 1] - values.count_before[i];
  }
  double total = 0;
  for (double& bin : mass) total += bin = std::cbrt(bin);
  std::vector<double> centres;
  double before = 0;
  for (int bin = 0; bin < kBins; ++bin) {
    const double own = mass[static_cast<size_t>(bin)];
    while (static_cast<int>(centres.size()) < entries) {
      const double wanted = (static_cast<double>(centres.size()) + 0.5) / entries * total;
      if (wanted > before + own) break;
      centres.push_back(low + (bin + (own > 0 ? (wanted - before) / own : 0.5)) * width);
    }
    before += own;
  }
  while (static_cast<int>(centres.size()) < entries) centres.push_back(values.value.back());
  return centres;
}

// First value of each cluster, and the end: a value belongs to its nearest centre.
std::vector<size_t> Borders(const Values& values, const std::vector<double>& centres) {
  std::vector<size_t> borders = {0};
  for (size_t k = 1; k < centres.size(); ++k) {
    const auto middle = static_cast<float>((centres[k - 1] + centres[k]) / 2);
    const auto above = std::upper_bound(values.value.begin(), values.value.end(), middle);
    borders.push_back(static_cast<size_t>(above - values.value.begin()));
  }
  borders.push_back(values.value.size());
  return borders;
}

// Lloyd's iteration: centres move to the means of their clusters until no value changes its own.
std::vector<double> Settle(const Values& values, std::vector<double> centres) {
  constexpr int kMaxRounds =
      1000;  // chosen: some milliseconds; later rounds change nothing visible
  std::vector<size_t> borders;
  for (int round = 0; round < kMaxRounds; ++round) {
    std::vector<size_t> next = Borders(values, centres);
    if (next == borders) break;
    borders = std::move(next);
    for (size_t k = 0; k < centres.size(); ++k) {
      const size_t begin = borders[k], end = borders[k + 1];
      if (begin == end) continue;
      centres[k] = (values.sum_before[end] - values.sum_before[begin]) /
                   (values.count_before[end] - values.count_before[begin]);
    }
  }
  return centres;
}

}  // namespace

Palette FindPalette(const Fp16Histogram& histogram, int entries) {
  const Values values = SortedValues(histogram);
  Palette palette;
  palette.index_of_bits.assign(kBits, 0);
  std::vector<double> centres(static_cast<size_t>(entries), 0.0);
  if (values.value.size() <= centres.size()) {
    std::copy(values.value.begin(), values.value.end(), centres.begin());
    std::fill(centres.begin() + static_cast<ptrdiff_t>(values.value.size()), centres.end(),
              values.value.empty() ? 0.0 : double{values.value.back()});
  } else {
    centres = Settle(values, FirstCentres(values, entries));
  }
  for (double& centre : centres) {
    palette.table.push_back(F16FromF32(static_cast<float>(centre)));
    centre = F32FromF16(palette.table.back());
  }
  // Equal centres share a border, so that a value between has the first of them.
  const std::vector<size_t> borders = Borders(values, centres);
  for (size_t k = 0; k + 1 < borders.size(); ++k) {
    for (size_t i = borders[k]; i < borders[k + 1]; ++i) {
      palette.index_of_bits[values.bits[i]] = static_cast<uint8_t>(k);
    }
  }
  return palette;
}

}  // namespace npumoe
