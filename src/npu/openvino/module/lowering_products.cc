// Convolutions and matrix products.
#include <openvino/op/add.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/convolution.hpp>
#include <openvino/op/group_conv.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/slice.hpp>
#include <openvino/op/variadic_split.hpp>

#include "npu/openvino/module/lowering.h"
#include "npu/openvino/module/nodes.h"

namespace npumoe::openvino {
namespace {

struct Geometry {
  ov::Strides strides, dilations;
  ov::CoordinateDiff pads_begin, pads_end;
  ov::op::PadType pad_type = ov::op::PadType::EXPLICIT;
};

Geometry GeometryOf(const Arguments& arguments, size_t axes) {
  Geometry geometry;
  for (int64_t s : arguments.Ints("strides", std::vector<int64_t>(axes, 1))) {
    geometry.strides.push_back(static_cast<size_t>(s));
  }
  for (int64_t d : arguments.Ints("dilations", std::vector<int64_t>(axes, 1))) {
    geometry.dilations.push_back(static_cast<size_t>(d));
  }
  const std::string type = arguments.Text("pad_type", "valid");
  if (type == "same") geometry.pad_type = ov::op::PadType::SAME_UPPER;
  if (type == "same_lower") geometry.pad_type = ov::op::PadType::SAME_LOWER;
  const std::vector<int64_t> pad = arguments.Ints("pad", std::vector<int64_t>(2 * axes, 0));
  for (size_t axis = 0; axis < axes; ++axis) {
    geometry.pads_begin.push_back(type == "custom" ? pad[2 * axis] : 0);
    geometry.pads_end.push_back(type == "custom" ? pad[2 * axis + 1] : 0);
  }
  return geometry;
}

// A part of a split as the only output of a node. Where a convolution has weights with one scale a
// row, OpenVINO 2026.4 rewrites it as a product (ConvertWeightCompressedConv1x1ToMatmul) and takes
// the node before it for its first output, which it refuses for a node with several.
Value AsOnlyOutput(const Value& x) {
  const auto split = ov::as_type_ptr<ov::op::v1::VariadicSplit>(x.get_node_shared_ptr());
  if (split == nullptr) return x;
  const auto axes = ov::as_type_ptr<ov::op::v0::Constant>(split->get_input_node_shared_ptr(1));
  const auto axis = axes->cast_vector<int64_t>().front();
  int64_t begin = 0;
  for (size_t i = 0; i < x.get_index(); ++i) {
    begin += static_cast<int64_t>(split->get_output_shape(i)[static_cast<size_t>(axis)]);
  }
  const auto length = static_cast<int64_t>(x.get_shape()[static_cast<size_t>(axis)]);
  return Node<ov::op::v8::Slice>(split->input_value(0), Integers({begin}),
                                 Integers({begin + length}), Integers({1}), Integers({axis}));
}

}  // namespace

Lowered LowerConv(Lowering& lowering, const Operation&, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value operand, lowering.Operand(arguments.Spec("x").name));
  const Value x = AsOnlyOutput(operand);
  const TensorSpec& weight = arguments.Spec("weight");
  const auto groups = static_cast<size_t>(arguments.Int("groups", 1));
  const size_t rank = x.get_shape().size();
  const Geometry g = GeometryOf(arguments, rank - 2);
  Value y;
  if (groups == 1) {
    NPUMOE_ASSIGN_OR_RETURN(const Value filter, lowering.Operand(weight.name));
    y = Node<ov::op::v1::Convolution>(x, filter, g.strides, g.pads_begin, g.pads_end, g.dilations,
                                      g.pad_type);
  } else {
    ov::Shape shape = ShapeOf(weight.shape);  // [Cout, Cin, *k] -> [groups, Cout, Cin, *k]
    shape[0] /= groups;
    shape.insert(shape.begin(), groups);
    NPUMOE_ASSIGN_OR_RETURN(const Value filter, lowering.Operand(weight.name, shape));
    y = Node<ov::op::v1::GroupConvolution>(x, filter, g.strides, g.pads_begin, g.pads_end,
                                           g.dilations, g.pad_type);
  }
  if (arguments.Has("bias")) {
    ov::Shape shape(rank, 1);
    shape[1] = static_cast<size_t>(weight.shape[0]);
    NPUMOE_ASSIGN_OR_RETURN(const Value bias, lowering.Operand(arguments.Spec("bias").name, shape));
    y = Node<ov::op::v1::Add>(y, bias);
  }
  return ov::OutputVector{y};
}

Lowered LowerLinear(Lowering& lowering, const Operation&, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  NPUMOE_ASSIGN_OR_RETURN(const Value weight, lowering.Operand(arguments.Spec("weight").name));
  Value y = Node<ov::op::v0::MatMul>(x, weight, false, true);
  if (arguments.Has("bias")) {
    NPUMOE_ASSIGN_OR_RETURN(const Value bias, lowering.Operand(arguments.Spec("bias").name));
    y = Node<ov::op::v1::Add>(y, bias);
  }
  return ov::OutputVector{y};
}

Lowered LowerMatMul(Lowering& lowering, const Operation&, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  NPUMOE_ASSIGN_OR_RETURN(const Value y, lowering.Operand(arguments.Spec("y").name));
  return ov::OutputVector{Node<ov::op::v0::MatMul>(x, y, arguments.Flag("transpose_x", false),
                                                   arguments.Flag("transpose_y", false))};
}

}  // namespace npumoe::openvino
