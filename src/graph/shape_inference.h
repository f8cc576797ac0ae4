// Shape and type inference: what an operation of a static graph computes, from its arguments
// alone. One table of operations serves the builder, the package writer and the reader, so that
// none of them can disagree about a shape. Semantics are those of MIL (docs/design/
// coreml-format.md, section 5), narrowed to fixed shapes and constant parameters.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "graph/arguments.h"
#include "graph/graph.h"

namespace npumoe {

struct TensorType {
  DType dtype = DType::kF16;
  Shape shape;
};

struct OperationSchema {
  const char* type;
  std::vector<ParameterSchema> parameters;  // in the order in which Operation::inputs has them
  Result<std::vector<TensorType>> (*infer)(const Arguments&);
};

// Null for an operation that is not known.
const OperationSchema* FindOperationSchema(std::string_view type);
std::vector<std::string_view> KnownOperations();

// One type per output. kUnsupported for an unknown operation or parameter, kInvalidInput for
// arguments that contradict each other; the message names the operation and what is allowed.
Result<std::vector<TensorType>> InferOutputs(const Operation& operation, const ValueTable& values);

// A larger tensor is refused (chosen: 64 times the largest activation of a program within the
// axis limits of docs/design/ane-facts.md section 3, and far below an int64 overflow).
inline constexpr int64_t kMaxTensorBytes = int64_t{1} << 40;

// The shape, or an error text when an axis is below 1, the rank above Shape::kMaxRank or the
// product too large.
Result<Shape> CheckedShape(std::span<const int64_t> axes);

// A slice of one axis with masks and negative positions resolved: begin, begin + stride, ...
struct AxisSlice {
  int64_t begin = 0;
  int64_t stride = 1;
  int64_t count = 1;
  bool squeezed = false;  // the axis (count 1) is dropped from the result
};
// For every axis of `x`. Needs a slice_by_index operation.
Result<std::vector<AxisSlice>> ResolveSlice(const Arguments& arguments);

}  // namespace npumoe
