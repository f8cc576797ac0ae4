// Operations that move values without computing.
#include <limits>
#include <openvino/op/concat.hpp>
#include <openvino/op/slice.hpp>
#include <openvino/op/transpose.hpp>
#include <openvino/op/variadic_split.hpp>

#include "graph/shape_inference.h"
#include "npu/openvino/module/lowering.h"
#include "npu/openvino/module/nodes.h"

namespace npumoe::openvino {
namespace {

int64_t PositiveAxis(int64_t axis, int rank) { return axis < 0 ? axis + rank : axis; }

}  // namespace

// reshape, expand_dims, squeeze: their result's shape is fixed.
Lowered LowerReshape(Lowering& lowering, const Operation& operation, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  return ov::OutputVector{Reshaped(x, ShapeOf(operation.outputs.front().shape))};
}

Lowered LowerTranspose(Lowering& lowering, const Operation&, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  std::vector<int64_t> perm = arguments.Ints("perm");
  for (int64_t& axis : perm) axis = PositiveAxis(axis, arguments.ShapeOf("x").rank());
  return ov::OutputVector{Node<ov::op::v1::Transpose>(x, Integers(perm))};
}

Lowered LowerSlice(Lowering& lowering, const Operation& operation, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<AxisSlice> slices, ResolveSlice(arguments));
  std::vector<int64_t> begin, end, stride, axes;
  for (size_t axis = 0; axis < slices.size(); ++axis) {
    const AxisSlice& slice = slices[axis];
    const int64_t after = slice.begin + slice.stride * slice.count;
    begin.push_back(slice.begin);
    // A negative end counts from the back; walking down to position 0 needs one below all.
    end.push_back(after < 0 ? std::numeric_limits<int32_t>::min() : after);
    stride.push_back(slice.stride);
    axes.push_back(static_cast<int64_t>(axis));
  }
  const Value kept =
      Node<ov::op::v8::Slice>(x, Integers(begin), Integers(end), Integers(stride), Integers(axes));
  const ov::Shape shape = ShapeOf(operation.outputs.front().shape);  // squeezed axes are dropped
  return ov::OutputVector{shape == kept.get_shape() ? kept : Reshaped(kept, shape)};
}

Lowered LowerConcat(Lowering& lowering, const Operation& operation, const Arguments& arguments) {
  ov::OutputVector values;
  for (const TensorSpec* spec : arguments.Specs("values")) {
    NPUMOE_ASSIGN_OR_RETURN(const Value value, lowering.Operand(spec->name));
    values.push_back(value);
  }
  const int rank = operation.outputs.front().shape.rank();
  return ov::OutputVector{
      Node<ov::op::v0::Concat>(values, PositiveAxis(arguments.Int("axis", 0), rank))};
}

Lowered LowerSplit(Lowering& lowering, const Operation& operation, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  const int rank = arguments.ShapeOf("x").rank();
  const int64_t axis = PositiveAxis(arguments.Int("axis", 0), rank);
  std::vector<int64_t> lengths;
  for (const TensorSpec& part : operation.outputs) {
    lengths.push_back(part.shape[static_cast<int>(axis)]);
  }
  const auto split =
      std::make_shared<ov::op::v1::VariadicSplit>(x, Integer(axis), Integers(lengths));
  return split->outputs();
}

}  // namespace npumoe::openvino
