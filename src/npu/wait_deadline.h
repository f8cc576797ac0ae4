// The point in time that a time-out of Device::Wait means.
#pragma once

#include <algorithm>
#include <chrono>

namespace npumoe {

// A NaN or negative time-out asks whether the request is done.
inline std::chrono::steady_clock::time_point DeadlineAfter(double timeout_ms) {
  constexpr double kLongestMs = 1e9;  // eleven days: keeps the clock's arithmetic in range
  const double ms = timeout_ms > 0 ? std::min(timeout_ms, kLongestMs) : 0;
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double, std::milli>(ms));
}

}  // namespace npumoe
