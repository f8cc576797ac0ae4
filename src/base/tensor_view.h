// TensorView: a borrowed, read-only, row-major tensor of up to eight axes. It owns nothing; the
// bytes belong to a mapped file or a buffer that must outlive it. Quantised types: the last axis is
// a whole number of blocks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/check.h"
#include "base/dtype.h"

namespace npumoe {

class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> axes) : Shape(std::span(axes.begin(), axes.size())) {}
  explicit Shape(std::span<const int64_t> axes);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return axes_[static_cast<size_t>(axis)]; }
  std::span<const int64_t> axes() const { return {axes_.data(), static_cast<size_t>(rank_)}; }
  int64_t elements() const;      // product of all axes; 1 for a scalar. Readers check for overflow.
  std::string ToString() const;  // "[2, 64]"
  bool operator==(const Shape& other) const;

 private:
  int rank_ = 0;
  std::array<int64_t, kMaxRank> axes_{};
};

struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  const std::byte* data = nullptr;

  bool empty() const { return data == nullptr; }
  size_t bytes() const { return BytesOf(dtype, shape.elements()); }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data);
  }
  // The i-th slice along the first axis: [n, ...] -> [...].
  TensorView Slice(int64_t index) const;
};

// A tensor's declaration: what a graph's or program's input or output is called and looks like.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kF16;
  Shape shape;

  size_t bytes() const { return BytesOf(dtype, shape.elements()); }
};

}  // namespace npumoe
