// How far rows of a program's output are from what the CPU computes for them.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "base/dtype.h"
#include "kernels/dispatch/dispatch.h"

namespace npumoe {

class RowError {
 public:
  // `row` is fp16, as programs answer.
  void Add(const OutputRow& row, std::span<const float> expected) {
    const auto* values = static_cast<const uint16_t*>(row.data);
    for (size_t c = 0; c < expected.size(); ++c) {
      const double wanted = expected[c];
      const double difference =
          std::abs(F32FromF16(values[static_cast<int64_t>(c) * row.stride]) - wanted);
      is_finite_ = is_finite_ && std::isfinite(difference);
      difference_ = std::max(difference_, difference);
      largest_ = std::max(largest_, std::abs(wanted));
      squared_difference_ += difference * difference;
      squares_ += wanted * wanted;
    }
  }
  // Largest |npu - cpu| over the largest |cpu| of all rows; infinity when a difference is no
  // finite number.
  double Relative() const {
    if (!is_finite_) return std::numeric_limits<double>::infinity();
    return largest_ == 0 ? difference_ : difference_ / largest_;
  }
  // The same of root sums of squares, which a single value with a large error hardly moves.
  double RootMeanSquare() const {
    if (!is_finite_) return std::numeric_limits<double>::infinity();
    return std::sqrt(squares_ == 0 ? squared_difference_ : squared_difference_ / squares_);
  }

 private:
  double squared_difference_ = 0;
  double squares_ = 0;
  double difference_ = 0;
  double largest_ = 0;
  bool is_finite_ = true;
};

}  // namespace npumoe
