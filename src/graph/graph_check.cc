#include "graph/graph_check.h"

#include <algorithm>
#include <unordered_set>

#include "graph/mil_types.h"
#include "graph/names.h"
#include "graph/shape_inference.h"

namespace npumoe {
namespace {

std::string Shown(const TensorSpec& spec) {
  return Quoted(spec.name) + " (" + Name(spec.dtype) + " " + spec.shape.ToString() + ")";
}

enum class Origin { kComputed, kStored, kMaterialised };

Status Declare(const TensorSpec& spec, const Constant* constant, Origin origin,
               ValueTable& values) {
  if (!IsValidName(spec.name)) {
    return InvalidInput("the value name " + Quoted(spec.name) +
                        " is not allowed; names are [A-Za-z_][A-Za-z0-9_@]*");
  }
  const Result<Shape> shape = CheckedShape(spec.shape.axes());
  if (!shape.ok()) return shape.status().WithContext("value " + Quoted(spec.name) + " has");
  const int64_t bytes = static_cast<int64_t>(spec.bytes());
  if (origin == Origin::kComputed && bytes > kMaxActivationBytes) {
    return Unsupported("value " + Shown(spec) + " has " + std::to_string(bytes) +
                       " bytes; at most " + std::to_string(kMaxActivationBytes) + " are allowed");
  }
  const KnownValue value{spec, constant, origin == Origin::kMaterialised};
  if (!values.emplace(spec.name, value).second) {
    return InvalidInput("the value " + Quoted(spec.name) + " is defined twice");
  }
  return OkStatus();
}

// How many values a literal has, and whether the declared type is one for it.
struct LiteralFacts {
  int64_t count = 0;
  bool type_fits = false;
};

LiteralFacts FactsOf(const Constant& constant) {
  const DType dtype = constant.spec.dtype;
  if (const auto* ints = std::get_if<std::vector<int32_t>>(&constant.value)) {
    return {static_cast<int64_t>(ints->size()), dtype == DType::kI32};
  }
  if (const auto* floats = std::get_if<std::vector<float>>(&constant.value)) {
    return {static_cast<int64_t>(floats->size()), dtype == DType::kF16 || dtype == DType::kF32};
  }
  if (const auto* flags = std::get_if<std::vector<bool>>(&constant.value)) {
    return {static_cast<int64_t>(flags->size()), dtype == DType::kBool};
  }
  return {1, constant.spec.shape.rank() == 0};  // text
}

Status CheckWeight(const TensorSpec& spec, const WeightData& weight) {
  if (!BlobTypeOf(spec.dtype)) {
    return Unsupported("weight " + Shown(spec) +
                       ": the weight file has no such type; allowed are "
                       "F16, F32, I32, I8, U8, I4, U4, U6");
  }
  if (weight.view.empty()) {
    return weight.produce
               ? OkStatus()
               : InvalidInput("weight " + Shown(spec) + " has neither bytes nor a producer");
  }
  if (weight.view.dtype == spec.dtype && weight.view.shape == spec.shape) return OkStatus();
  return InvalidInput("weight " + Shown(spec) + " is given as " + Name(weight.view.dtype) + " " +
                      weight.view.shape.ToString());
}

Status CheckConstant(const std::string& key, const Constant& constant) {
  if (constant.spec.name != key) {
    return InvalidInput("constant " + Quoted(key) + " is declared as " +
                        Quoted(constant.spec.name));
  }
  if (const auto* weight = std::get_if<WeightData>(&constant.value)) {
    return CheckWeight(constant.spec, *weight);
  }
  const LiteralFacts facts = FactsOf(constant);
  if (facts.type_fits && facts.count == constant.spec.shape.elements()) return OkStatus();
  return InvalidInput("constant " + Shown(constant.spec) + " holds " + std::to_string(facts.count) +
                      (facts.type_fits ? " values" : " values of another type"));
}

Status CheckOperation(const Operation& operation, ValueTable& values) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<TensorType> inferred, InferOutputs(operation, values));
  const std::string shown = "operation " + Quoted(operation.name) + " (" + operation.type + ")";
  if (inferred.size() != operation.outputs.size()) {
    return InvalidInput(shown + " declares " + std::to_string(operation.outputs.size()) +
                        " results; it computes " + std::to_string(inferred.size()));
  }
  for (size_t i = 0; i < inferred.size(); ++i) {
    const TensorSpec& declared = operation.outputs[i];
    if (declared.dtype != inferred[i].dtype || !(declared.shape == inferred[i].shape)) {
      return InvalidInput(shown + " declares its result " + Shown(declared) + "; it computes " +
                          Name(inferred[i].dtype) + " " + inferred[i].shape.ToString());
    }
    const Origin origin = IsConstexpr(operation) ? Origin::kMaterialised : Origin::kComputed;
    NPUMOE_RETURN_IF_ERROR(Declare(declared, nullptr, origin, values));
  }
  return OkStatus();
}

Status CheckOperations(const Graph& graph, ValueTable& values) {
  std::unordered_set<std::string> names;
  for (const Operation& operation : graph.operations) {
    if (!IsValidName(operation.name) || !names.insert(operation.name).second) {
      return InvalidInput("the operation name " + Quoted(operation.name) +
                          " is used twice or not allowed; names are [A-Za-z_][A-Za-z0-9_@]*");
    }
    NPUMOE_RETURN_IF_ERROR(CheckOperation(operation, values));
  }
  return OkStatus();
}

Status CheckInterfaceType(const TensorSpec& spec) {
  if (ArrayTypeOf(spec.dtype)) return OkStatus();
  return Unsupported("input or output " + Shown(spec) +
                     ": only F16, F32 and I32 cross the border of a function");
}

Status CheckOutputs(const Graph& graph, const ValueTable& values) {
  if (graph.outputs.empty()) return InvalidInput("no output is declared; one is needed");
  std::unordered_set<std::string> produced, seen;
  for (const Operation& operation : graph.operations) {
    for (const TensorSpec& output : operation.outputs) produced.insert(output.name);
  }
  for (const std::string& output : graph.outputs) {
    if (!produced.contains(output)) {
      return InvalidInput("the output " + Quoted(output) + " is not computed by any operation");
    }
    if (!seen.insert(output).second) {
      return InvalidInput("the output " + Quoted(output) + " is listed twice");
    }
    NPUMOE_RETURN_IF_ERROR(CheckInterfaceType(values.at(output).spec));
  }
  return OkStatus();
}

}  // namespace

Status CheckGraph(const Graph& graph) {
  if (!IsValidName(graph.name)) {
    return InvalidInput("the function name " + Quoted(graph.name) +
                        " is not allowed; names are [A-Za-z_][A-Za-z0-9_@]*");
  }
  ValueTable values;
  for (const TensorSpec& input : graph.inputs) {
    NPUMOE_RETURN_IF_ERROR(Declare(input, nullptr, Origin::kComputed, values));
    NPUMOE_RETURN_IF_ERROR(CheckInterfaceType(input));
  }
  for (const auto& [key, constant] : graph.constants) {
    NPUMOE_RETURN_IF_ERROR(Declare(constant.spec, &constant, Origin::kStored, values));
    NPUMOE_RETURN_IF_ERROR(CheckConstant(key, constant));
  }
  NPUMOE_RETURN_IF_ERROR(CheckOperations(graph, values));
  return CheckOutputs(graph, values);
}

}  // namespace npumoe
