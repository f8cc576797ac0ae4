// Lowering: a static graph as an OpenVINO model. One MIL operation becomes one to a few operations
// of the library's operation sets; weights are constants over the mapped package.
//
// Types are the graph's: a target that computes in fp16 rounds where the graph does; one that
// computes in fp32 (CPU) rounds at inputs and outputs.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "graph/arguments.h"
#include "graph/graph.h"

namespace npumoe::openvino {

// Keeps the bytes of a package's weights alive.
using Storage = std::shared_ptr<const void>;

// The model holds `storage`; `graph` is not needed afterwards. kUnsupported for an operation or
// type that has no counterpart.
Result<std::shared_ptr<ov::Model>> LowerGraph(const Graph& graph, const Storage& storage);

ov::element::Type ElementType(DType dtype);  // dynamic: the library has none
ov::Shape ShapeOf(const Shape& shape);

// The state of one lowering.
class Lowering {
 public:
  using Value = ov::Output<ov::Node>;

  Lowering(const Graph& graph, Storage storage);

  Result<std::shared_ptr<ov::Model>> Run();

  // What is bound to a parameter of an operation. Constants become nodes on first use.
  Result<Value> Operand(const std::string& name);
  // The same as a tensor of another shape: of a constant without a copy.
  Result<Value> Operand(const std::string& name, const ov::Shape& shape);
  // A scalar parameter; the fallback when it was left out.
  Result<float> Scalar(const Arguments& arguments, std::string_view parameter,
                       float fallback) const;
  const Constant* ConstantOf(const std::string& name) const;
  const Graph& graph() const { return graph_; }

 private:
  Status Add(const Operation& operation);
  Result<Value> ConstantNode(const Constant& constant, const ov::Shape& shape) const;

  const Graph& graph_;
  Storage storage_;
  ValueTable values_;
  std::unordered_map<std::string, Value> lowered_;
};

// One lowering function per operation or family of them; a result per output.
using Lowered = Result<ov::OutputVector>;
using LowerOperation = Lowered (*)(Lowering&, const Operation&, const Arguments&);
LowerOperation FindLowering(std::string_view type);  // null when there is none

// lowering_products.cc
Lowered LowerConv(Lowering&, const Operation&, const Arguments&);
Lowered LowerLinear(Lowering&, const Operation&, const Arguments&);
Lowered LowerMatMul(Lowering&, const Operation&, const Arguments&);
// lowering_constexpr.cc
Lowered LowerBlockwiseShiftScale(Lowering&, const Operation&, const Arguments&);
Lowered LowerLutToDense(Lowering&, const Operation&, const Arguments&);
// lowering_elementwise.cc
Lowered LowerUnary(Lowering&, const Operation&, const Arguments&);
Lowered LowerBinary(Lowering&, const Operation&, const Arguments&);
Lowered LowerRsqrt(Lowering&, const Operation&, const Arguments&);
Lowered LowerClip(Lowering&, const Operation&, const Arguments&);
Lowered LowerCast(Lowering&, const Operation&, const Arguments&);
// lowering_reduce.cc
Lowered LowerSoftmax(Lowering&, const Operation&, const Arguments&);
Lowered LowerReduce(Lowering&, const Operation&, const Arguments&);
Lowered LowerLayerNorm(Lowering&, const Operation&, const Arguments&);
// lowering_layout.cc
Lowered LowerReshape(Lowering&, const Operation&, const Arguments&);
Lowered LowerTranspose(Lowering&, const Operation&, const Arguments&);
Lowered LowerSlice(Lowering&, const Operation&, const Arguments&);
Lowered LowerConcat(Lowering&, const Operation&, const Arguments&);
Lowered LowerSplit(Lowering&, const Operation&, const Arguments&);

}  // namespace npumoe::openvino
