#include "npu/coreml/strided_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "base/checked_math.h"

namespace npumoe::coreml_device {
namespace {

// Calls copy(offset in the array, offset in dense memory, elements) for every run of elements that
// lies together in both, outermost axis first.
template <class Copy>
void ForEachRun(const ArrayLayout& layout, const Copy& copy) {
  const size_t rank = layout.shape.size();
  if (ElementsOf(layout) == 0) return;
  const bool row_is_dense =
      rank > 0 && (layout.strides[rank - 1] == 1 || layout.shape[rank - 1] == 1);
  const size_t outer = row_is_dense ? rank - 1 : rank;
  const int64_t run = row_is_dense ? layout.shape[rank - 1] : 1;
  std::vector<int64_t> index(outer, 0);
  for (int64_t dense = 0, total = ElementsOf(layout); dense < total; dense += run) {
    int64_t offset = 0;
    for (size_t axis = 0; axis < outer; ++axis) offset += index[axis] * layout.strides[axis];
    copy(offset, dense, run);
    for (size_t axis = outer; axis-- > 0;) {
      if (++index[axis] < layout.shape[axis]) break;
      index[axis] = 0;
    }
  }
}

}  // namespace

int64_t ElementsOf(const ArrayLayout& layout) {
  int64_t elements = 1;
  for (int64_t axis : layout.shape) elements *= axis;
  return elements;
}

bool IsDense(const ArrayLayout& layout) {
  int64_t expected = 1;
  for (size_t axis = layout.shape.size(); axis-- > 0;) {
    if (layout.shape[axis] != 1 && layout.strides[axis] != expected) return false;
    expected *= layout.shape[axis];
  }
  return true;
}

Status CheckLayout(const ArrayLayout& layout, const TensorSpec& wanted, size_t memory_bytes,
                   const std::string& what) {
  const std::span<const int64_t> shape = wanted.shape.axes();
  if (layout.dtype != wanted.dtype || !std::ranges::equal(layout.shape, shape) ||
      layout.strides.size() != shape.size()) {
    return InvalidInput(fmt::format("{}: an array {} [{}] with {} strides; {} [{}] is needed", what,
                                    Name(layout.dtype), fmt::join(layout.shape, ", "),
                                    layout.strides.size(), Name(wanted.dtype),
                                    fmt::join(shape, ", ")));
  }
  int64_t last = 0;  // element with the highest address
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] == 1) continue;
    const auto reach = CheckedMul<int64_t>(layout.strides[axis], shape[axis] - 1);
    const auto sum = reach ? CheckedAdd<int64_t>(last, *reach) : std::nullopt;
    if (layout.strides[axis] < 1 || !sum) {
      return InvalidInput(
          fmt::format("{}: stride {} of axis {}", what, layout.strides[axis], axis));
    }
    last = *sum;
  }
  if (static_cast<uint64_t>(last) >= memory_bytes / BytesPerElement(wanted.dtype)) {
    return InvalidInput(
        fmt::format("{}: element {} lies outside of its {} bytes", what, last, memory_bytes));
  }
  return OkStatus();
}

void CopyToStrided(std::span<const std::byte> dense, const ArrayLayout& layout, std::byte* array) {
  const size_t size = BytesPerElement(layout.dtype);
  NPUMOE_CHECK(dense.size() == size * static_cast<size_t>(ElementsOf(layout)));
  ForEachRun(layout, [&](int64_t to, int64_t from, int64_t count) {
    std::memcpy(array + static_cast<size_t>(to) * size,
                dense.data() + static_cast<size_t>(from) * size, static_cast<size_t>(count) * size);
  });
}

void CopyFromStrided(const ArrayLayout& layout, const std::byte* array,
                     std::span<std::byte> dense) {
  const size_t size = BytesPerElement(layout.dtype);
  NPUMOE_CHECK(dense.size() == size * static_cast<size_t>(ElementsOf(layout)));
  ForEachRun(layout, [&](int64_t from, int64_t to, int64_t count) {
    std::memcpy(dense.data() + static_cast<size_t>(to) * size,
                array + static_cast<size_t>(from) * size, static_cast<size_t>(count) * size);
  });
}

}  // namespace npumoe::coreml_device
