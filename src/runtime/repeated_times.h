// One quantity that was measured several times: its median and spread.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/check.h"

namespace npumoe {

class RepeatedTimes {
 public:
  void Add(double value) { values_.push_back(value); }
  bool empty() const { return values_.empty(); }
  double Median() const { return Quantile(0.5); }
  double Mean() const {
    NPUMOE_CHECK(!values_.empty());
    return std::accumulate(values_.begin(), values_.end(), 0.0) /
           static_cast<double>(values_.size());
  }
  // Half of the width of the middle half, relative to the median.
  double Spread() const {
    const double median = Median();
    return median > 0 ? (Quantile(0.75) - Quantile(0.25)) / 2 / median : 0;
  }

 private:
  double Quantile(double share) const {
    NPUMOE_CHECK(!values_.empty());
    std::vector<double> sorted = values_;
    std::ranges::sort(sorted);
    const double at = share * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<size_t>(at);
    const size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
  }

  std::vector<double> values_;
};

}  // namespace npumoe
