#include "npu/openvino/module/lowering.h"

#include <fmt/format.h>

#include <array>
#include <openvino/op/constant.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/reshape.hpp>
#include <openvino/op/result.hpp>
#include <utility>

#include "graph/names.h"
#include "graph/shape_inference.h"
#include "npu/openvino/module/failures.h"
#include "npu/openvino/module/nodes.h"

namespace npumoe::openvino {
namespace {

struct Entry {
  std::string_view type;
  LowerOperation lower;
};

constexpr std::array kLowerings = {
    Entry{"conv", LowerConv},
    Entry{"linear", LowerLinear},
    Entry{"matmul", LowerMatMul},
    Entry{"constexpr_blockwise_shift_scale", LowerBlockwiseShiftScale},
    Entry{"constexpr_lut_to_dense", LowerLutToDense},
    Entry{"silu", LowerUnary},
    Entry{"sigmoid", LowerUnary},
    Entry{"exp", LowerUnary},
    Entry{"sqrt", LowerUnary},
    Entry{"square", LowerUnary},
    Entry{"abs", LowerUnary},
    Entry{"rsqrt", LowerRsqrt},
    Entry{"clip", LowerClip},
    Entry{"cast", LowerCast},
    Entry{"add", LowerBinary},
    Entry{"sub", LowerBinary},
    Entry{"mul", LowerBinary},
    Entry{"real_div", LowerBinary},
    Entry{"maximum", LowerBinary},
    Entry{"softmax", LowerSoftmax},
    Entry{"reduce_mean", LowerReduce},
    Entry{"reduce_sum", LowerReduce},
    Entry{"reduce_max", LowerReduce},
    Entry{"layer_norm", LowerLayerNorm},
    Entry{"reshape", LowerReshape},
    Entry{"expand_dims", LowerReshape},
    Entry{"squeeze", LowerReshape},
    Entry{"transpose", LowerTranspose},
    Entry{"slice_by_index", LowerSlice},
    Entry{"concat", LowerConcat},
    Entry{"split", LowerSplit},
};

std::shared_ptr<ov::Node> Named(std::shared_ptr<ov::Node> node, const std::string& name) {
  node->set_friendly_name(name);
  return node;
}

}  // namespace

LowerOperation FindLowering(std::string_view type) {
  for (const Entry& entry : kLowerings) {
    if (entry.type == type) return entry.lower;
  }
  return nullptr;
}

ov::element::Type ElementType(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return ov::element::f16;
    case DType::kF32:
      return ov::element::f32;
    case DType::kI32:
      return ov::element::i32;
    case DType::kI8:
      return ov::element::i8;
    case DType::kU8:
      return ov::element::u8;
    case DType::kI64:
      return ov::element::i64;
    case DType::kBool:
      return ov::element::boolean;
    case DType::kI4:
      return ov::element::i4;
    case DType::kU4:
      return ov::element::u4;
    default:
      return ov::element::dynamic;
  }
}

ov::Shape ShapeOf(const Shape& shape) {
  ov::Shape axes;
  for (const int64_t axis : shape.axes()) axes.push_back(static_cast<size_t>(axis));
  return axes;
}

Lowering::Lowering(const Graph& graph, Storage storage)
    : graph_(graph), storage_(std::move(storage)) {}

const Constant* Lowering::ConstantOf(const std::string& name) const {
  const auto it = graph_.constants.find(name);
  return it == graph_.constants.end() ? nullptr : &it->second;
}

Result<Lowering::Value> Lowering::ConstantNode(const Constant& constant,
                                               const ov::Shape& shape) const {
  const ov::element::Type type = ElementType(constant.spec.dtype);
  const std::string& name = constant.spec.name;
  if (const auto* weight = std::get_if<WeightData>(&constant.value)) {
    if (weight->view.empty() || type.is_dynamic()) {
      return Unsupported(fmt::format("weight {} of type {} cannot be lowered", Quoted(name),
                                     Name(constant.spec.dtype)));
    }
    // The library's type says that the owner may change the bytes; a constant is never written.
    return NamedConstant(name, type, shape, weight->view.data,
                         std::const_pointer_cast<void>(storage_));
  }
  if (const auto* floats = std::get_if<std::vector<float>>(&constant.value)) {
    return Named(ov::op::v0::Constant::create(type, shape, *floats), name)->output(0);
  }
  if (const auto* integers = std::get_if<std::vector<int32_t>>(&constant.value)) {
    return Named(ov::op::v0::Constant::create(type, shape, *integers), name)->output(0);
  }
  if (const auto* flags = std::get_if<std::vector<bool>>(&constant.value)) {
    const std::vector<char> values(flags->begin(), flags->end());
    return Named(ov::op::v0::Constant::create(type, shape, values), name)->output(0);
  }
  return Unsupported(fmt::format("{} is a text, not a tensor", Quoted(name)));
}

Result<Lowering::Value> Lowering::Operand(const std::string& name) {
  if (const auto it = lowered_.find(name); it != lowered_.end()) return it->second;
  const Constant* constant = ConstantOf(name);
  if (constant == nullptr) return InvalidInput(fmt::format("{} is not declared", Quoted(name)));
  NPUMOE_ASSIGN_OR_RETURN(const Value node, ConstantNode(*constant, ShapeOf(constant->spec.shape)));
  lowered_.emplace(name, node);
  return node;
}

Result<Lowering::Value> Lowering::Operand(const std::string& name, const ov::Shape& shape) {
  if (const Constant* constant = ConstantOf(name)) return ConstantNode(*constant, shape);
  NPUMOE_ASSIGN_OR_RETURN(const Value value, Operand(name));
  return Reshaped(value, shape);
}

Result<float> Lowering::Scalar(const Arguments& arguments, std::string_view parameter,
                               float fallback) const {
  if (!arguments.Has(parameter)) return fallback;
  const Constant* constant = ConstantOf(arguments.Spec(parameter).name);
  const auto* floats =
      constant == nullptr ? nullptr : std::get_if<std::vector<float>>(&constant->value);
  if (floats == nullptr || floats->size() != 1) {
    return arguments.NotSupported(std::string(parameter) + " that is no constant number");
  }
  return floats->front();
}

Status Lowering::Add(const Operation& operation) {
  const OperationSchema* schema = FindOperationSchema(operation.type);
  const LowerOperation lower = FindLowering(operation.type);
  if (schema == nullptr || lower == nullptr) {
    return Unsupported(fmt::format("unknown-operation: operation {} ({}) has no counterpart",
                                   Quoted(operation.name), operation.type));
  }
  NPUMOE_ASSIGN_OR_RETURN(const Arguments arguments,
                          Arguments::Bind(operation, schema->parameters, values_));
  NPUMOE_ASSIGN_OR_RETURN(const ov::OutputVector results, lower(*this, operation, arguments));
  NPUMOE_CHECK(results.size() == operation.outputs.size());
  for (size_t i = 0; i < results.size(); ++i) {
    const TensorSpec& declared = operation.outputs[i];
    // Where the library's rules differ from ours, the program is refused instead of run.
    if (results[i].get_shape() != ShapeOf(declared.shape) ||
        results[i].get_element_type() != ElementType(declared.dtype)) {
      return arguments.NotSupported("a result that the library sees in another shape or type");
    }
    lowered_.emplace(declared.name, results[i]);
    values_.emplace(declared.name, KnownValue{declared, nullptr, IsConstexpr(operation)});
  }
  results.front().get_node_shared_ptr()->set_friendly_name(operation.name);
  return OkStatus();
}

Result<std::shared_ptr<ov::Model>> Lowering::Run() {
  ov::ParameterVector parameters;
  for (const TensorSpec& input : graph_.inputs) {
    const ov::element::Type type = ElementType(input.dtype);
    if (type.is_dynamic()) {
      return Unsupported(
          fmt::format("input {} has the type {}", Quoted(input.name), Name(input.dtype)));
    }
    const auto parameter =
        std::make_shared<ov::op::v0::Parameter>(type, ov::PartialShape(ShapeOf(input.shape)));
    Named(parameter, input.name);
    parameter->output(0).set_names({input.name});
    parameters.push_back(parameter);
    lowered_.emplace(input.name, parameter->output(0));
    values_.emplace(input.name, KnownValue{input, nullptr});
  }
  for (const auto& [name, constant] : graph_.constants) {
    values_.emplace(name, KnownValue{constant.spec, &constant});
  }
  for (const Operation& operation : graph_.operations) NPUMOE_RETURN_IF_ERROR(Add(operation));
  ov::ResultVector results;
  for (const std::string& name : graph_.outputs) {
    NPUMOE_ASSIGN_OR_RETURN(const Value value, Operand(name));
    results.push_back(std::make_shared<ov::op::v0::Result>(value));
    results.back()->set_friendly_name("result_" + name);
  }
  return std::make_shared<ov::Model>(results, parameters, graph_.name);
}

Result<std::shared_ptr<ov::Model>> LowerGraph(const Graph& graph, const Storage& storage) {
  using Model = Result<std::shared_ptr<ov::Model>>;
  return Guarded("lowering", [&]() -> Model { return Lowering(graph, storage).Run(); });
}

}  // namespace npumoe::openvino
