// Operations of GraphBuilder that have one or two operands and few parameters.
#include "graph/builder.h"

namespace npumoe {

using Value = GraphBuilder::Value;

Value GraphBuilder::Add(const std::string& name, const Value& x, const Value& y) {
  return Append("add", name, {{"x", {x.name}}, {"y", {y.name}}});
}
Value GraphBuilder::Sub(const std::string& name, const Value& x, const Value& y) {
  return Append("sub", name, {{"x", {x.name}}, {"y", {y.name}}});
}
Value GraphBuilder::Mul(const std::string& name, const Value& x, const Value& y) {
  return Append("mul", name, {{"x", {x.name}}, {"y", {y.name}}});
}
Value GraphBuilder::RealDiv(const std::string& name, const Value& x, const Value& y) {
  return Append("real_div", name, {{"x", {x.name}}, {"y", {y.name}}});
}
Value GraphBuilder::Maximum(const std::string& name, const Value& x, const Value& y) {
  return Append("maximum", name, {{"x", {x.name}}, {"y", {y.name}}});
}

Value GraphBuilder::Silu(const std::string& name, const Value& x) {
  return Append("silu", name, {{"x", {x.name}}});
}
Value GraphBuilder::Sigmoid(const std::string& name, const Value& x) {
  return Append("sigmoid", name, {{"x", {x.name}}});
}
Value GraphBuilder::Exp(const std::string& name, const Value& x) {
  return Append("exp", name, {{"x", {x.name}}});
}
Value GraphBuilder::Sqrt(const std::string& name, const Value& x) {
  return Append("sqrt", name, {{"x", {x.name}}});
}
Value GraphBuilder::Square(const std::string& name, const Value& x) {
  return Append("square", name, {{"x", {x.name}}});
}
Value GraphBuilder::Abs(const std::string& name, const Value& x) {
  return Append("abs", name, {{"x", {x.name}}});
}
Value GraphBuilder::Rsqrt(const std::string& name, const Value& x, float epsilon) {
  return Append("rsqrt", name, {{"x", {x.name}}, {"epsilon", {Float(epsilon, x.dtype)}}});
}
Value GraphBuilder::Clip(const std::string& name, const Value& x, float alpha, float beta) {
  return Append(
      "clip", name,
      {{"x", {x.name}}, {"alpha", {Float(alpha, x.dtype)}}, {"beta", {Float(beta, x.dtype)}}});
}
Value GraphBuilder::Softmax(const std::string& name, const Value& x, int axis) {
  return Append("softmax", name, {{"x", {x.name}}, {"axis", {Int(axis)}}});
}

Value GraphBuilder::ReduceMean(const std::string& name, const Value& x, std::vector<int32_t> axes,
                               ReducedAxes reduced) {
  return Reduce("reduce_mean", name, x, std::move(axes), reduced);
}
Value GraphBuilder::ReduceSum(const std::string& name, const Value& x, std::vector<int32_t> axes,
                              ReducedAxes reduced) {
  return Reduce("reduce_sum", name, x, std::move(axes), reduced);
}
Value GraphBuilder::ReduceMax(const std::string& name, const Value& x, std::vector<int32_t> axes,
                              ReducedAxes reduced) {
  return Reduce("reduce_max", name, x, std::move(axes), reduced);
}

Value GraphBuilder::Reshape(const std::string& name, const Value& x, std::vector<int32_t> shape) {
  return Append("reshape", name, {{"x", {x.name}}, {"shape", {Ints(shape)}}});
}
Value GraphBuilder::Transpose(const std::string& name, const Value& x, std::vector<int32_t> perm) {
  return Append("transpose", name, {{"x", {x.name}}, {"perm", {Ints(perm)}}});
}
Value GraphBuilder::ExpandDims(const std::string& name, const Value& x, std::vector<int32_t> axes) {
  return Append("expand_dims", name, {{"x", {x.name}}, {"axes", {Ints(axes)}}});
}
Value GraphBuilder::Squeeze(const std::string& name, const Value& x, std::vector<int32_t> axes) {
  return Append("squeeze", name, {{"x", {x.name}}, {"axes", {Ints(axes)}}});
}

}  // namespace npumoe
