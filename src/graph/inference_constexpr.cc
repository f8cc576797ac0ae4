// Operations whose results are weights: stored integers or indices with their scales or tables.
#include "graph/inference_rules.h"

namespace npumoe {
namespace {

bool IsInteger(DType dtype) {
  return dtype == DType::kI4 || dtype == DType::kU4 || dtype == DType::kI8 || dtype == DType::kU8;
}

// Every axis of `whole` is a whole number of times as long as that of `parts`.
Status RequireDividing(const Arguments& arguments, std::string_view whole, std::string_view parts) {
  const Shape& longer = arguments.ShapeOf(whole);
  const Shape& shorter = arguments.ShapeOf(parts);
  for (int axis = 0; axis < longer.rank(); ++axis) {
    if (longer[axis] % shorter[axis] == 0) continue;
    return arguments.Error("axis " + std::to_string(axis) + " of " + std::string(parts) + " " +
                           shorter.ToString() + " does not divide that of " + std::string(whole) +
                           " " + longer.ToString());
  }
  return OkStatus();
}

Status CheckOffset(const Arguments& arguments) {
  if (!arguments.Has("offset")) return OkStatus();
  NPUMOE_RETURN_IF_ERROR(RequireSameType(arguments, "data", "offset"));
  if (arguments.ShapeOf("offset") == arguments.ShapeOf("scale")) return OkStatus();
  return arguments.Error("offset " + arguments.ShapeOf("offset").ToString() + "; the shape of " +
                         "scale, " + arguments.ShapeOf("scale").ToString() + ", is needed");
}

// Bits of an index, 0 for what is none.
int IndexBits(DType dtype) {
  if (dtype == DType::kU4) return 4;
  if (dtype == DType::kU6) return 6;
  return dtype == DType::kU8 ? 8 : 0;
}

}  // namespace

Inferred InferBlockwiseShiftScale(const Arguments& arguments) {
  const TensorSpec& data = arguments.Spec("data");
  const Shape& scale = arguments.ShapeOf("scale");
  if (!IsInteger(data.dtype)) {
    return arguments.NotSupported(std::string("data is ") + Name(data.dtype) +
                                  "; allowed are I4, U4, I8, U8");
  }
  NPUMOE_RETURN_IF_ERROR(RequireFloat(arguments, "scale"));
  if (data.shape.rank() < 1 || data.shape.rank() != scale.rank()) {
    return arguments.Error("data " + data.shape.ToString() + " and scale " + scale.ToString() +
                           " must have the same rank, at least 1");
  }
  NPUMOE_RETURN_IF_ERROR(RequireDividing(arguments, "data", "scale"));
  NPUMOE_RETURN_IF_ERROR(CheckOffset(arguments));
  return std::vector<TensorType>{{arguments.Spec("scale").dtype, data.shape}};
}

Inferred InferLutToDense(const Arguments& arguments) {
  const TensorSpec& indices = arguments.Spec("indices");
  const TensorSpec& lut = arguments.Spec("lut");
  const int rank = indices.shape.rank();
  const int bits = IndexBits(indices.dtype);
  if (bits == 0) {
    return arguments.NotSupported(std::string("indices are ") + Name(indices.dtype) +
                                  "; allowed are U4, U6, U8");
  }
  NPUMOE_RETURN_IF_ERROR(RequireFloat(arguments, "lut"));
  if (rank < 1 || lut.shape.rank() != rank + 2) {
    return arguments.Error("lut " + lut.shape.ToString() + " must have two axes more than " +
                           "indices " + indices.shape.ToString());
  }
  if (lut.shape[rank] != int64_t{1} << bits) {
    return arguments.Error("lut " + lut.shape.ToString() + " has tables of " +
                           std::to_string(lut.shape[rank]) + " entries; indices of " +
                           Name(indices.dtype) + " need " + std::to_string(1 << bits));
  }
  if (lut.shape[rank + 1] != 1) return arguments.NotSupported("entries that are vectors");
  NPUMOE_RETURN_IF_ERROR(RequireDividing(arguments, "indices", "lut"));
  return std::vector<TensorType>{{lut.dtype, indices.shape}};
}

}  // namespace npumoe
