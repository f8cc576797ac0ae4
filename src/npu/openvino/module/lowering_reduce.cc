// Reductions over axes: sums and maxima, softmax, layer norm.
#include <algorithm>
#include <numeric>
#include <openvino/op/add.hpp>
#include <openvino/op/multiply.hpp>
#include <openvino/op/mvn.hpp>
#include <openvino/op/reduce_max.hpp>
#include <openvino/op/reduce_mean.hpp>
#include <openvino/op/reduce_sum.hpp>
#include <openvino/op/softmax.hpp>

#include "npu/openvino/module/lowering.h"
#include "npu/openvino/module/nodes.h"

namespace npumoe::openvino {
namespace {

// From 0, as listed; all of x when they were left out.
std::vector<int64_t> ReducedAxesOf(const Arguments& arguments) {
  const int rank = arguments.ShapeOf("x").rank();
  std::vector<int64_t> all(static_cast<size_t>(rank));
  std::iota(all.begin(), all.end(), 0);
  std::vector<int64_t> axes = arguments.Ints("axes", all);
  for (int64_t& axis : axes) axis += axis < 0 ? rank : 0;
  return axes;
}

}  // namespace

Lowered LowerSoftmax(Lowering& lowering, const Operation&, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  return ov::OutputVector{Node<ov::op::v8::Softmax>(x, arguments.Int("axis", -1))};
}

Lowered LowerReduce(Lowering& lowering, const Operation& operation, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  const Value axes = Integers(ReducedAxesOf(arguments));
  const bool keep = arguments.Flag("keep_dims", false);
  if (operation.type == "reduce_mean") {
    return ov::OutputVector{Node<ov::op::v1::ReduceMean>(x, axes, keep)};
  }
  if (operation.type == "reduce_sum") {
    return ov::OutputVector{Node<ov::op::v1::ReduceSum>(x, axes, keep)};
  }
  return ov::OutputVector{Node<ov::op::v1::ReduceMax>(x, axes, keep)};
}

Lowered LowerLayerNorm(Lowering& lowering, const Operation&, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  NPUMOE_ASSIGN_OR_RETURN(const float epsilon, lowering.Scalar(arguments, "epsilon", 1e-5f));
  const std::vector<int64_t> axes = ReducedAxesOf(arguments);
  const bool affine = arguments.Has("gamma") || arguments.Has("beta");
  // gamma and beta follow the order in which the axes are listed; broadcasting follows x's.
  if (affine && !std::is_sorted(axes.begin(), axes.end())) {
    return arguments.NotSupported("axes that do not ascend together with gamma or beta");
  }
  ov::Shape shape(x.get_shape().size(), 1);
  for (const int64_t axis : axes) {
    shape[static_cast<size_t>(axis)] = x.get_shape()[static_cast<size_t>(axis)];
  }
  Value y =
      Node<ov::op::v6::MVN>(x, Integers(axes), true, epsilon, ov::op::MVNEpsMode::INSIDE_SQRT);
  if (arguments.Has("gamma")) {
    NPUMOE_ASSIGN_OR_RETURN(const Value gamma,
                            lowering.Operand(arguments.Spec("gamma").name, shape));
    y = Node<ov::op::v1::Multiply>(y, gamma);
  }
  if (arguments.Has("beta")) {
    NPUMOE_ASSIGN_OR_RETURN(const Value beta, lowering.Operand(arguments.Spec("beta").name, shape));
    y = Node<ov::op::v1::Add>(y, beta);
  }
  return ov::OutputVector{y};
}

}  // namespace npumoe::openvino
