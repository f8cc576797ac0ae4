// Element-wise operations, reductions, normalisation, and what the inference functions share.
#include <algorithm>

#include "graph/inference_rules.h"
#include "graph/names.h"

namespace npumoe {
namespace {

Inferred SameAsX(const Arguments& arguments) {
  const TensorSpec& x = arguments.Spec("x");
  return std::vector<TensorType>{{x.dtype, x.shape}};
}

std::vector<int64_t> AllAxes(int rank) {
  std::vector<int64_t> axes;
  for (int axis = 0; axis < rank; ++axis) axes.push_back(axis);
  return axes;
}

}  // namespace

Result<int> NormalizedAxis(const Arguments& arguments, int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    return arguments.Error("axis " + std::to_string(axis) + "; allowed are " +
                           std::to_string(-rank) + " to " + std::to_string(rank - 1));
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

Result<std::vector<int>> NormalizedAxes(const Arguments& arguments,
                                        const std::vector<int64_t>& axes, int rank) {
  if (axes.size() > static_cast<size_t>(rank)) {
    return arguments.Error(std::to_string(axes.size()) + " axes are listed for a tensor of rank " +
                           std::to_string(rank));
  }
  std::vector<int> normalized;
  for (const int64_t axis : axes) {
    NPUMOE_ASSIGN_OR_RETURN(const int position, NormalizedAxis(arguments, axis, rank));
    if (std::find(normalized.begin(), normalized.end(), position) != normalized.end()) {
      return arguments.Error("axis " + std::to_string(axis) + " is listed twice");
    }
    normalized.push_back(position);
  }
  return normalized;
}

Result<std::vector<int64_t>> BroadcastAxes(const Arguments& arguments, std::span<const int64_t> a,
                                           std::span<const int64_t> b) {
  if (a.size() < b.size()) std::swap(a, b);
  std::vector<int64_t> axes(a.begin(), a.end());
  const size_t offset = a.size() - b.size();
  for (size_t axis = 0; axis < b.size(); ++axis) {
    int64_t& length = axes[offset + axis];
    if (length == b[axis] || b[axis] == 1) continue;
    if (length != 1) {
      return arguments.Error("axes of length " + std::to_string(length) + " and " +
                             std::to_string(b[axis]) + " do not broadcast");
    }
    length = b[axis];
  }
  return axes;
}

Inferred OneOutput(const Arguments& arguments, DType dtype, const std::vector<int64_t>& axes) {
  Result<Shape> shape = CheckedShape(axes);
  if (!shape.ok()) return arguments.Error("the result has " + shape.status().message());
  return std::vector<TensorType>{{dtype, *shape}};
}

Status RequireSameType(const Arguments& arguments, std::string_view a, std::string_view b) {
  const DType left = arguments.Spec(a).dtype;
  const DType right = arguments.Spec(b).dtype;
  if (left == right) return OkStatus();
  return arguments.Error(std::string(a) + " is " + Name(left) + " and " + std::string(b) + " is " +
                         Name(right) + "; cast one of them");
}

Status RequireFloat(const Arguments& arguments, std::string_view parameter) {
  const DType dtype = arguments.Spec(parameter).dtype;
  if (dtype == DType::kF16 || dtype == DType::kF32) return OkStatus();
  return arguments.Error(std::string(parameter) + " is " + Name(dtype) + "; F16 or F32 is needed");
}

Inferred InferBinary(const Arguments& arguments) {
  const DType dtype = arguments.Spec("x").dtype;
  NPUMOE_RETURN_IF_ERROR(RequireSameType(arguments, "x", "y"));
  if (dtype != DType::kI32) NPUMOE_RETURN_IF_ERROR(RequireFloat(arguments, "x"));
  NPUMOE_ASSIGN_OR_RETURN(
      const std::vector<int64_t> axes,
      BroadcastAxes(arguments, arguments.ShapeOf("x").axes(), arguments.ShapeOf("y").axes()));
  return OneOutput(arguments, dtype, axes);
}

Inferred InferUnary(const Arguments& arguments) {
  NPUMOE_RETURN_IF_ERROR(RequireFloat(arguments, "x"));
  return SameAsX(arguments);
}

Inferred InferRsqrt(const Arguments& arguments) {
  if (arguments.Has("epsilon")) {
    NPUMOE_RETURN_IF_ERROR(RequireSameType(arguments, "x", "epsilon"));
  }
  return InferUnary(arguments);
}

Inferred InferClip(const Arguments& arguments) {
  NPUMOE_RETURN_IF_ERROR(RequireSameType(arguments, "x", "alpha"));
  NPUMOE_RETURN_IF_ERROR(RequireSameType(arguments, "x", "beta"));
  return InferUnary(arguments);
}

Inferred InferSoftmax(const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const int axis, NormalizedAxis(arguments, arguments.Int("axis", -1),
                                                         arguments.ShapeOf("x").rank()));
  static_cast<void>(axis);  // only its range matters here
  return InferUnary(arguments);
}

Inferred InferReduce(const Arguments& arguments) {
  NPUMOE_RETURN_IF_ERROR(RequireFloat(arguments, "x"));
  const Shape& x = arguments.ShapeOf("x");
  NPUMOE_ASSIGN_OR_RETURN(
      const std::vector<int> reduced,
      NormalizedAxes(arguments, arguments.Ints("axes", AllAxes(x.rank())), x.rank()));
  const bool keep = arguments.Flag("keep_dims", false);
  std::vector<int64_t> axes;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const bool is_reduced = std::find(reduced.begin(), reduced.end(), axis) != reduced.end();
    if (!is_reduced) axes.push_back(x[axis]);
    if (is_reduced && keep) axes.push_back(1);
  }
  return OneOutput(arguments, arguments.Spec("x").dtype, axes);
}

Inferred InferLayerNorm(const Arguments& arguments) {
  NPUMOE_RETURN_IF_ERROR(RequireFloat(arguments, "x"));
  const Shape& x = arguments.ShapeOf("x");
  NPUMOE_ASSIGN_OR_RETURN(
      const std::vector<int> axes,
      NormalizedAxes(arguments, arguments.Ints("axes", AllAxes(x.rank())), x.rank()));
  std::vector<int64_t> lengths;
  for (const int axis : axes) lengths.push_back(x[axis]);
  for (const char* parameter : {"gamma", "beta"}) {
    if (!arguments.Has(parameter)) continue;
    NPUMOE_RETURN_IF_ERROR(RequireSameType(arguments, "x", parameter));
    if (!(arguments.ShapeOf(parameter) == Shape(lengths))) {
      return arguments.Error(std::string(parameter) + " " +
                             arguments.ShapeOf(parameter).ToString() + "; " +
                             Shape(lengths).ToString() + " is needed");
    }
  }
  if (arguments.Has("epsilon")) {
    NPUMOE_RETURN_IF_ERROR(RequireSameType(arguments, "x", "epsilon"));
  }
  return SameAsX(arguments);
}

Inferred InferCast(const Arguments& arguments) {
  struct CastTarget {
    std::string_view name;
    DType dtype;
  };
  static constexpr CastTarget kTargets[] = {{"fp16", DType::kF16},  {"fp32", DType::kF32},
                                            {"int32", DType::kI32}, {"int8", DType::kI8},
                                            {"uint8", DType::kU8},  {"bool", DType::kBool}};
  const std::string wanted = arguments.Text("dtype", "");
  for (const CastTarget& target : kTargets) {
    if (target.name != wanted) continue;
    return std::vector<TensorType>{{target.dtype, arguments.ShapeOf("x")}};
  }
  return arguments.NotSupported("dtype " + Quoted(wanted) +
                                "; known are fp16, fp32, int32, int8, uint8, bool");
}

}  // namespace npumoe
