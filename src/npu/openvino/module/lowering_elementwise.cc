// Element-wise operations.
#include <openvino/op/abs.hpp>
#include <openvino/op/add.hpp>
#include <openvino/op/clamp.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/divide.hpp>
#include <openvino/op/exp.hpp>
#include <openvino/op/maximum.hpp>
#include <openvino/op/multiply.hpp>
#include <openvino/op/sigmoid.hpp>
#include <openvino/op/sqrt.hpp>
#include <openvino/op/subtract.hpp>
#include <openvino/op/swish.hpp>

#include "npu/openvino/module/lowering.h"
#include "npu/openvino/module/nodes.h"

namespace npumoe::openvino {
namespace {

Value Unary(std::string_view type, const Value& x) {
  if (type == "silu") return Node<ov::op::v4::Swish>(x);
  if (type == "sigmoid") return Node<ov::op::v0::Sigmoid>(x);
  if (type == "exp") return Node<ov::op::v0::Exp>(x);
  if (type == "sqrt") return Node<ov::op::v0::Sqrt>(x);
  if (type == "square") return Node<ov::op::v1::Multiply>(x, x);
  NPUMOE_CHECK(type == "abs");
  return Node<ov::op::v0::Abs>(x);
}

Value Binary(std::string_view type, const Value& x, const Value& y) {
  if (type == "add") return Node<ov::op::v1::Add>(x, y);
  if (type == "sub") return Node<ov::op::v1::Subtract>(x, y);
  if (type == "mul") return Node<ov::op::v1::Multiply>(x, y);
  if (type == "real_div") return Node<ov::op::v1::Divide>(x, y);
  NPUMOE_CHECK(type == "maximum");
  return Node<ov::op::v1::Maximum>(x, y);
}

}  // namespace

Lowered LowerUnary(Lowering& lowering, const Operation& operation, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  return ov::OutputVector{Unary(operation.type, x)};
}

Lowered LowerBinary(Lowering& lowering, const Operation& operation, const Arguments& arguments) {
  if (operation.type == "real_div" && arguments.Spec("x").dtype == DType::kI32) {
    return arguments.NotSupported("a division of integers");  // ours is exact, theirs rounds down
  }
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  NPUMOE_ASSIGN_OR_RETURN(const Value y, lowering.Operand(arguments.Spec("y").name));
  return ov::OutputVector{Binary(operation.type, x, y)};
}

Lowered LowerRsqrt(Lowering& lowering, const Operation&, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  NPUMOE_ASSIGN_OR_RETURN(const float epsilon, lowering.Scalar(arguments, "epsilon", 1e-12f));
  const ov::element::Type type = x.get_element_type();
  const Value root = Node<ov::op::v0::Sqrt>(Node<ov::op::v1::Add>(x, Number(epsilon, type)));
  return ov::OutputVector{Node<ov::op::v1::Divide>(Number(1, type), root)};
}

Lowered LowerClip(Lowering& lowering, const Operation&, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  NPUMOE_ASSIGN_OR_RETURN(const float low, lowering.Scalar(arguments, "alpha", 0));
  NPUMOE_ASSIGN_OR_RETURN(const float high, lowering.Scalar(arguments, "beta", 0));
  if (!(low <= high)) return arguments.NotSupported("alpha above beta");
  return ov::OutputVector{Node<ov::op::v0::Clamp>(x, double{low}, double{high})};
}

Lowered LowerCast(Lowering& lowering, const Operation& operation, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const Value x, lowering.Operand(arguments.Spec("x").name));
  return ov::OutputVector{
      Node<ov::op::v0::Convert>(x, ElementType(operation.outputs.front().dtype))};
}

}  // namespace npumoe::openvino
