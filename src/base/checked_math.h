// Arithmetic on numbers that come from files: an overflow is an answer, not undefined behaviour.
#pragma once

#include <concepts>
#include <optional>

namespace npumoe {

template <std::integral T>
std::optional<T> CheckedAdd(T a, T b) {
  T sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <std::integral T>
std::optional<T> CheckedMul(T a, T b) {
  T product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// `value` rounded up to a multiple of `quantum` (> 0). Ours, not the world's: no overflow check.
template <std::integral T>
constexpr T RoundUp(T value, T quantum) {
  return (value + quantum - 1) / quantum * quantum;
}

template <std::integral T>
constexpr T DivideRoundUp(T value, T divisor) {
  return (value + divisor - 1) / divisor;
}

}  // namespace npumoe
