// Operations that move values without computing: reshape, transpose, slices, concat, split.
#include <algorithm>

#include "graph/inference_rules.h"

namespace npumoe {
namespace {

Result<AxisSlice> ResolveAxis(const Arguments& arguments, int64_t length, int64_t begin,
                              int64_t end, int64_t stride) {
  if (begin < 0) begin += length;
  if (end < 0) end += length;
  if (stride < 1) return arguments.NotSupported("a stride below 1");
  if (begin < 0 || begin >= end || end > length) {
    return arguments.Error("the range [" + std::to_string(begin) + ", " + std::to_string(end) +
                           ") does not lie in an axis of length " + std::to_string(length));
  }
  return AxisSlice{begin, stride, (end - begin + stride - 1) / stride};
}

constexpr int64_t kMaxParts = 4096;  // chosen: far above any head or expert count

Result<std::vector<int64_t>> SplitLengths(const Arguments& arguments, int64_t length) {
  if (arguments.Has("split_sizes")) {
    std::vector<int64_t> sizes = arguments.Ints("split_sizes");
    if (sizes.size() > kMaxParts) return arguments.NotSupported("more than 4096 parts");
    int64_t sum = 0;
    for (const int64_t size : sizes) {
      if (size < 1) return arguments.Error("a part of length " + std::to_string(size));
      sum += size;
    }
    if (sum == length) return sizes;
    return arguments.Error("the parts add up to " + std::to_string(sum) + ", the axis has " +
                           std::to_string(length));
  }
  const int64_t parts = arguments.Int("num_splits", 0);
  if (parts < 1 || parts > length || length % parts != 0) {
    return arguments.Error("num_splits = " + std::to_string(parts) +
                           " does not divide an axis of length " + std::to_string(length));
  }
  if (parts > kMaxParts) return arguments.NotSupported("more than 4096 parts");
  return std::vector<int64_t>(static_cast<size_t>(parts), length / parts);
}

}  // namespace

Inferred InferReshape(const Arguments& arguments) {
  const Shape& x = arguments.ShapeOf("x");
  std::vector<int64_t> axes = arguments.Ints("shape");
  int64_t* free_axis = nullptr;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] == 0 && axes.size() == static_cast<size_t>(x.rank())) {
      axes[i] = x[static_cast<int>(i)];
    }
    if (axes[i] != -1) continue;
    if (free_axis != nullptr) return arguments.Error("shape has more than one -1");
    free_axis = &axes[i];
    *free_axis = 1;
  }
  Result<Shape> fixed = CheckedShape(axes);
  if (!fixed.ok()) return arguments.Error("shape has " + fixed.status().message());
  if (free_axis != nullptr) *free_axis = x.elements() / fixed->elements();
  Result<Shape> shape = CheckedShape(axes);
  if (!shape.ok() || shape->elements() != x.elements()) {
    return arguments.Error("shape " + fixed->ToString() + " does not hold the " +
                           std::to_string(x.elements()) + " elements of x " + x.ToString());
  }
  return OneOutput(arguments, arguments.Spec("x").dtype, axes);
}

Inferred InferTranspose(const Arguments& arguments) {
  const Shape& x = arguments.ShapeOf("x");
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<int> perm,
                          NormalizedAxes(arguments, arguments.Ints("perm"), x.rank()));
  if (perm.size() != static_cast<size_t>(x.rank())) {
    return arguments.Error("perm has " + std::to_string(perm.size()) + " entries; x has rank " +
                           std::to_string(x.rank()));
  }
  std::vector<int64_t> axes;
  for (const int axis : perm) axes.push_back(x[axis]);
  return OneOutput(arguments, arguments.Spec("x").dtype, axes);
}

Result<std::vector<AxisSlice>> ResolveSlice(const Arguments& arguments) {
  const Shape& x = arguments.ShapeOf("x");
  const auto rank = static_cast<size_t>(x.rank());
  const std::vector<int64_t> begin = arguments.Ints("begin");
  const std::vector<int64_t> end = arguments.Ints("end");
  const std::vector<int64_t> stride = arguments.Ints("stride", std::vector<int64_t>(rank, 1));
  const std::vector<bool> begin_mask = arguments.Flags("begin_mask", rank);
  const std::vector<bool> end_mask = arguments.Flags("end_mask", rank);
  const std::vector<bool> squeeze_mask = arguments.Flags("squeeze_mask", rank);
  for (const size_t count : {begin.size(), end.size(), stride.size(), begin_mask.size(),
                             end_mask.size(), squeeze_mask.size()}) {
    if (count != rank) {
      return arguments.Error("begin, end, stride and masks need one entry for each axis of x " +
                             x.ToString());
    }
  }
  std::vector<AxisSlice> slices;
  for (size_t axis = 0; axis < rank; ++axis) {
    const int64_t length = x[static_cast<int>(axis)];
    const int64_t first = begin_mask[axis] ? 0 : begin[axis];
    const int64_t after_first = first == -1 ? length : first + 1;
    const int64_t last = squeeze_mask[axis] ? after_first : end_mask[axis] ? length : end[axis];
    NPUMOE_ASSIGN_OR_RETURN(AxisSlice slice,
                            ResolveAxis(arguments, length, first, last, stride[axis]));
    slice.squeezed = squeeze_mask[axis];
    slices.push_back(slice);
  }
  return slices;
}

Inferred InferSliceByIndex(const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<AxisSlice> slices, ResolveSlice(arguments));
  std::vector<int64_t> axes;
  for (const AxisSlice& slice : slices) {
    if (!slice.squeezed) axes.push_back(slice.count);
  }
  return OneOutput(arguments, arguments.Spec("x").dtype, axes);
}

Inferred InferConcat(const Arguments& arguments) {
  const std::vector<const TensorSpec*> values = arguments.Specs("values");
  const TensorSpec& first = *values.front();
  if (arguments.Flag("interleave", false)) return arguments.NotSupported("interleave = true");
  NPUMOE_ASSIGN_OR_RETURN(const int axis,
                          NormalizedAxis(arguments, arguments.Int("axis", 0), first.shape.rank()));
  std::vector<int64_t> axes(first.shape.axes().begin(), first.shape.axes().end());
  int64_t& joined = axes[static_cast<size_t>(axis)];
  joined = 0;
  for (const TensorSpec* value : values) {
    bool fits = value->dtype == first.dtype && value->shape.rank() == first.shape.rank();
    for (int i = 0; fits && i < first.shape.rank(); ++i) {
      fits = i == axis || value->shape[i] == first.shape[i];
    }
    if (!fits) {
      return arguments.Error("value " + value->shape.ToString() + " " + Name(value->dtype) +
                             " does not fit " + first.shape.ToString() + " " + Name(first.dtype) +
                             " off the axis " + std::to_string(axis));
    }
    joined += value->shape[axis];
  }
  return OneOutput(arguments, first.dtype, axes);
}

Inferred InferSplit(const Arguments& arguments) {
  const TensorSpec& x = arguments.Spec("x");
  NPUMOE_ASSIGN_OR_RETURN(const int axis,
                          NormalizedAxis(arguments, arguments.Int("axis", 0), x.shape.rank()));
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<int64_t> lengths,
                          SplitLengths(arguments, x.shape[axis]));
  std::vector<TensorType> parts;
  std::vector<int64_t> axes(x.shape.axes().begin(), x.shape.axes().end());
  for (const int64_t length : lengths) {
    axes[static_cast<size_t>(axis)] = length;
    parts.push_back({x.dtype, Shape(axes)});
  }
  return parts;
}

Inferred InferExpandDims(const Arguments& arguments) {
  const Shape& x = arguments.ShapeOf("x");
  const std::vector<int64_t> added = arguments.Ints("axes");
  if (added.size() > static_cast<size_t>(Shape::kMaxRank)) {
    return arguments.Error(std::to_string(added.size()) + " added axes; at most " +
                           std::to_string(Shape::kMaxRank) + " are allowed");
  }
  const int rank = x.rank() + static_cast<int>(added.size());
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<int> positions, NormalizedAxes(arguments, added, rank));
  std::vector<int64_t> axes;
  int from = 0;
  for (int axis = 0; axis < rank; ++axis) {
    const bool is_added = std::find(positions.begin(), positions.end(), axis) != positions.end();
    axes.push_back(is_added ? 1 : x[from++]);
  }
  return OneOutput(arguments, arguments.Spec("x").dtype, axes);
}

Inferred InferSqueeze(const Arguments& arguments) {
  const Shape& x = arguments.ShapeOf("x");
  std::vector<int64_t> ones;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (x[axis] == 1) ones.push_back(axis);
  }
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<int> dropped,
                          NormalizedAxes(arguments, arguments.Ints("axes", ones), x.rank()));
  std::vector<int64_t> axes;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const bool drop = std::find(dropped.begin(), dropped.end(), axis) != dropped.end();
    if (drop && x[axis] != 1) {
      return arguments.Error("axis " + std::to_string(axis) + " of x " + x.ToString() +
                             " has not length 1");
    }
    if (!drop) axes.push_back(x[axis]);
  }
  return OneOutput(arguments, arguments.Spec("x").dtype, axes);
}

}  // namespace npumoe
