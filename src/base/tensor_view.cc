#include "base/tensor_view.h"

#include <algorithm>
#include <cmath>

namespace npumoe {

Shape::Shape(std::span<const int64_t> axes) : rank_(static_cast<int>(axes.size())) {
  NPUMOE_CHECK(axes.size() <= static_cast<size_t>(kMaxRank));
  std::copy(axes.begin(), axes.end(), axes_.begin());
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (const int64_t axis : axes()) product *= axis;
  return product;
}

std::string Shape::ToString() const {
  std::string text = "[";
  for (int axis = 0; axis < rank_; ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string((*this)[axis]);
  }
  return text + "]";
}

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(axes(), other.axes());
}

TensorView TensorView::Slice(int64_t index) const {
  NPUMOE_CHECK(shape.rank() >= 1);
  NPUMOE_CHECK(index >= 0 && index < shape[0]);
  TensorView slice;
  slice.dtype = dtype;
  slice.shape = Shape(shape.axes().subspan(1));
  const double bits = static_cast<double>(slice.shape.elements()) * MeanBitsPerElement(dtype);
  NPUMOE_CHECK(!IsSubByte(dtype) || std::fmod(bits, 8) == 0);  // it begins at a byte
  slice.data = data + static_cast<size_t>(index) * slice.bytes();
  return slice;
}

}  // namespace npumoe
