// Row-major fp32 matrices as kernels take them: borrowed, with a row stride in elements.
#pragma once

#include <cstdint>

namespace npumoe {

struct ConstMatrix {
  const float* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t stride = 0;  // elements from one row to the next, >= columns

  const float* Row(int64_t r) const { return data + r * stride; }
};

struct Matrix {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t stride = 0;

  float* Row(int64_t r) const { return data + r * stride; }
  operator ConstMatrix() const { return {data, rows, columns, stride}; }  // NOLINT: by design
};

}  // namespace npumoe
