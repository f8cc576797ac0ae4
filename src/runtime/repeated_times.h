// The times of one thing that was measured several times.
#pragma once

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace npumoe {

class RepeatedTimes {
 public:
  void Add(double ms) { times_ms_.push_back(ms); }
  bool empty() const { return times_ms_.empty(); }
  double MedianMs() const { return Quantile(0.5); }
  // Half of the width of the middle half, relative to the median.
  double Spread() const {
    const double median = MedianMs();
    return median > 0 ? (Quantile(0.75) - Quantile(0.25)) / 2 / median : 0;
  }

 private:
  double Quantile(double share) const {
    NPUMOE_CHECK(!times_ms_.empty());
    std::vector<double> sorted = times_ms_;
    std::ranges::sort(sorted);
    const double at = share * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<size_t>(at);
    const size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
  }

  std::vector<double> times_ms_;
};

}  // namespace npumoe
