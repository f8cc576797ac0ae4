#include "npu/emulator/strided.h"

#include <algorithm>

#include "base/checked_math.h"

namespace npumoe::emulator {
namespace {

int64_t Product(std::span<const int64_t> extents) {
  int64_t product = 1;
  for (int64_t extent : extents) product *= extent;
  return product;
}

}  // namespace

std::vector<int64_t> RowMajorStrides(const Shape& shape) {
  std::vector<int64_t> strides(static_cast<size_t>(shape.rank()));
  int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = stride;
    stride *= shape[axis];
  }
  return strides;
}

void CopyStrided(std::span<const int64_t> extents, const StridedView& from_view, const float* from,
                 const StridedView& to_view, float* to) {
  const int64_t from_step = extents.empty() ? 1 : from_view.strides.back();
  const int64_t to_step = extents.empty() ? 1 : to_view.strides.back();
  ForEachRow(extents, from_view, to_view, [&](int64_t at_from, int64_t at_to, int64_t count) {
    if (from_step == 1 && to_step == 1) {
      std::copy_n(from + at_from, count, to + at_to);
      return;
    }
    for (int64_t i = 0; i < count; ++i) to[at_to + i * to_step] = from[at_from + i * from_step];
  });
}

void TransposeMatrices(int64_t batches, int64_t rows, int64_t columns, const float* from, float* to,
                       ThreadPool& pool) {
  constexpr int64_t kTile = 32;  // chosen: two tiles of floats fit the first-level cache
  const int64_t row_tiles = DivideRoundUp(rows, kTile);
  pool.ParallelFor(batches * row_tiles, [&](int64_t index, int) {
    const float* source = from + index / row_tiles * rows * columns;
    float* target = to + index / row_tiles * rows * columns;
    const int64_t row_begin = index % row_tiles * kTile;
    const int64_t row_end = std::min(rows, row_begin + kTile);
    for (int64_t tile = 0; tile < columns; tile += kTile) {
      const int64_t tile_end = std::min(columns, tile + kTile);
      for (int64_t c = tile; c < tile_end; ++c) {
        for (int64_t r = row_begin; r < row_end; ++r)
          target[c * rows + r] = source[r * columns + c];
      }
    }
  });
}

int64_t AxisSplit::outer_count() const { return Product(outer_extents); }
int64_t AxisSplit::inner_count() const { return Product(inner_extents); }

AxisSplit SplitAxes(const Shape& shape, std::span<const int64_t> inner_axes) {
  AxisSplit split;
  const std::vector<int64_t> strides = RowMajorStrides(shape);
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const bool inner = std::any_of(inner_axes.begin(), inner_axes.end(), [&](int64_t a) {
      return (a < 0 ? a + shape.rank() : a) == axis;
    });
    (inner ? split.inner_extents : split.outer_extents).push_back(shape[axis]);
    (inner ? split.inner_strides : split.outer_strides)
        .push_back(strides[static_cast<size_t>(axis)]);
  }
  return split;
}

int64_t OffsetOf(int64_t index, std::span<const int64_t> extents,
                 std::span<const int64_t> strides) {
  int64_t offset = 0;
  for (size_t axis = extents.size(); axis-- > 0;) {
    offset += index % extents[axis] * strides[axis];
    index /= extents[axis];
  }
  return offset;
}

}  // namespace npumoe::emulator
