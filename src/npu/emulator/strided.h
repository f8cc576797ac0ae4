// Strided loops over fp32 tensors: what transposes, slices, joins and broadcasts have in common.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/tensor_view.h"
#include "base/thread_pool.h"

namespace npumoe::emulator {

// Elements from one position of an axis to the next, row-major.
std::vector<int64_t> RowMajorStrides(const Shape& shape);

// A walk over positions of `extents`; `strides` may be 0 (broadcast).
struct StridedView {
  int64_t offset = 0;
  std::vector<int64_t> strides;
};

// Calls row(a, b, count): the last axis of every row, as offsets into both views; both views
// step along it by their last stride. Rank 0 is one row of one element.
template <class Row>
void ForEachRow(std::span<const int64_t> extents, const StridedView& a, const StridedView& b,
                const Row& row) {
  if (extents.empty()) {
    row(a.offset, b.offset, int64_t{1});
    return;
  }
  std::vector<int64_t> position(extents.size(), 0);
  int64_t at_a = a.offset;
  int64_t at_b = b.offset;
  while (true) {
    row(at_a, at_b, extents.back());
    size_t axis = extents.size() - 1;
    while (true) {
      if (axis == 0) return;
      --axis;
      at_a += a.strides[axis];
      at_b += b.strides[axis];
      if (++position[axis] < extents[axis]) break;
      at_a -= a.strides[axis] * extents[axis];
      at_b -= b.strides[axis] * extents[axis];
      position[axis] = 0;
    }
  }
}

// to[view] = from[view] for every position of `extents`.
void CopyStrided(std::span<const int64_t> extents, const StridedView& from_view, const float* from,
                 const StridedView& to_view, float* to);

// Each of `batches` matrices [rows, columns] to [columns, rows].
void TransposeMatrices(int64_t batches, int64_t rows, int64_t columns, const float* from, float* to,
                       ThreadPool& pool);

// The positions of some axes of a shape, apart from the rest: a reduction runs over `inner` for
// every `outer`.
struct AxisSplit {
  std::vector<int64_t> outer_extents, outer_strides;
  std::vector<int64_t> inner_extents, inner_strides;
  int64_t outer_count() const;
  int64_t inner_count() const;
};
AxisSplit SplitAxes(const Shape& shape, std::span<const int64_t> inner_axes);
// Offset of the i-th position in row-major order of `extents`.
int64_t OffsetOf(int64_t index, std::span<const int64_t> extents, std::span<const int64_t> strides);

}  // namespace npumoe::emulator
