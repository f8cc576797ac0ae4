#include "graph/mil_reader.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "graph/mil_types.h"
#include "graph/mil_values.h"
#include "graph/mil_writer.h"
#include "graph/names.h"
#include "graph/shape_inference.h"

namespace npumoe {
namespace {

std::string Shown(const coreml::OperationMessage& message) {
  const std::string result = message.outputs_size() > 0 ? message.outputs(0).name() : "";
  return "operation " + Quoted(message.type()) + " with the result " + Quoted(result);
}

// A const operation adds a constant of the name of its result.
Status ReadConst(const coreml::OperationMessage& message, const WeightBlobFile* weights,
                 Graph& graph) {
  const auto value = message.attributes().find("val");
  if (message.outputs_size() != 1 || message.inputs_size() != 0 ||
      value == message.attributes().end()) {
    return InvalidInput(Shown(message) + " needs one result, no input and the attribute 'val'");
  }
  const std::string& name = message.outputs(0).name();
  NPUMOE_ASSIGN_OR_RETURN(Constant constant, ReadConstant(name, value->second, weights));
  if (message.outputs(0).type().SerializeAsString() != value->second.type().SerializeAsString()) {
    return InvalidInput(Shown(message) + " declares another type than its value has");
  }
  if (!graph.constants.emplace(name, std::move(constant)).second) {
    return InvalidInput("the value " + Quoted(name) + " is defined twice");
  }
  return OkStatus();
}

// What the operations of one function are read into.
struct FunctionReader {
  const WeightBlobFile* weights = nullptr;
  std::set<std::string> taken;  // names of values in the message
  Graph& graph;
};

// A value that stands in a constexpr operation becomes a constant, called after the operation's
// result and the parameter.
Result<std::string> ReadValueInPlace(const coreml::OperationMessage& message,
                                     const std::string& parameter, const coreml::Value& value,
                                     FunctionReader& reader) {
  std::string name = message.outputs_size() > 0 ? message.outputs(0).name() : "";
  name += "_" + parameter;
  while (!reader.taken.insert(name).second) name += "_";
  NPUMOE_ASSIGN_OR_RETURN(Constant constant, ReadConstant(name, value, reader.weights));
  reader.graph.constants.emplace(name, std::move(constant));
  return name;
}

Result<std::vector<std::string>> ReadBindings(const coreml::OperationMessage& message,
                                              const std::string& parameter,
                                              const coreml::Argument& argument,
                                              FunctionReader& reader) {
  const bool constexpr_operation = message.type().starts_with("constexpr_");
  std::vector<std::string> names;
  for (const coreml::Binding& binding : argument.bindings()) {
    if (binding.kind_case() == coreml::Binding::kName) {
      names.push_back(binding.name());
    } else if (constexpr_operation && binding.kind_case() == coreml::Binding::kValue) {
      NPUMOE_ASSIGN_OR_RETURN(std::string name,
                              ReadValueInPlace(message, parameter, binding.value(), reader));
      names.push_back(std::move(name));
    } else {
      return Unsupported("a value bound in place; constants must be const operations");
    }
  }
  return names;
}

// In the order of the schema; the message's map has none.
Status ReadInputs(const coreml::OperationMessage& message, const OperationSchema& schema,
                  FunctionReader& reader, Operation& operation) {
  for (const ParameterSchema& parameter : schema.parameters) {
    const auto argument = message.inputs().find(parameter.name);
    if (argument == message.inputs().end()) continue;
    Result<std::vector<std::string>> names =
        ReadBindings(message, parameter.name, argument->second, reader);
    if (!names.ok()) return names.status().WithContext(Shown(message));
    operation.inputs.emplace_back(parameter.name, *std::move(names));
  }
  if (operation.inputs.size() == message.inputs().size()) return OkStatus();
  for (const auto& [name, argument] : message.inputs()) {
    if (operation.Bound(name) == nullptr) {
      return Unsupported(Shown(message) + " has the parameter " + Quoted(name) +
                         ", which is not known here");
    }
  }
  return OkStatus();
}

std::string NameOf(const coreml::OperationMessage& message) {
  const auto attribute = message.attributes().find("name");
  if (attribute != message.attributes().end()) {
    const auto& strings = attribute->second.immediate().tensor().strings().values();
    if (strings.size() == 1) return strings.Get(0);
  }
  return message.outputs_size() > 0 ? message.outputs(0).name() : "";
}

Result<Operation> ReadOperation(const coreml::OperationMessage& message, FunctionReader& reader) {
  if (message.blocks_size() > 0) return Unsupported(Shown(message) + " has nested blocks");
  const OperationSchema* schema = FindOperationSchema(message.type());
  if (schema == nullptr) {
    std::string known;
    for (const std::string_view type : KnownOperations()) known += " " + std::string(type);
    return Unsupported(Shown(message) + " is not known here; known are const" + known);
  }
  Operation operation{message.type(), NameOf(message), {}, {}};
  NPUMOE_RETURN_IF_ERROR(ReadInputs(message, *schema, reader, operation));
  for (const coreml::NamedDeclaration& output : message.outputs()) {
    NPUMOE_ASSIGN_OR_RETURN(TensorSpec spec, ReadDeclaration(output.name(), output.type()));
    operation.outputs.push_back(std::move(spec));
  }
  return operation;
}

Result<const coreml::Block*> SelectBlock(const coreml::Function& function) {
  const auto block = function.specializations().find(function.opset());
  if (block == function.specializations().end() || function.specializations_size() != 1) {
    return Unsupported("the function needs exactly one block, of its opset " +
                       Quoted(function.opset()));
  }
  if (block->second.inputs_size() > 0) return Unsupported("the block has inputs of its own");
  return &block->second;
}

std::set<std::string> NamesOfValues(const coreml::Function& function, const coreml::Block& block) {
  std::set<std::string> names;
  for (const coreml::NamedDeclaration& input : function.inputs()) names.insert(input.name());
  for (const coreml::OperationMessage& message : block.operations()) {
    for (const coreml::NamedDeclaration& output : message.outputs()) names.insert(output.name());
  }
  return names;
}

Status CheckFeature(const TensorSpec& spec, const coreml::Feature& feature) {
  const coreml::FeatureType& type = feature.type();
  if (!type.has_array() || type.is_optional() || type.array().has_enumerated_shapes() ||
      type.array().has_shape_range()) {
    return Unsupported("the description of " + Quoted(feature.name()) +
                       " is not a required array of one fixed shape");
  }
  const auto& shape = type.array().shape();
  const bool same =
      feature.name() == spec.name && DTypeOf(type.array().element()) == spec.dtype &&
      std::equal(shape.begin(), shape.end(), spec.shape.axes().begin(), spec.shape.axes().end());
  if (same) return OkStatus();
  return InvalidInput("the description of " + Quoted(feature.name()) + " does not agree with " +
                      Quoted(spec.name) + " of the program, " + Name(spec.dtype) + " " +
                      spec.shape.ToString());
}

Status CheckCounts(const Graph& graph, int inputs, int outputs, int states) {
  if (states > 0) {
    return Unsupported("the function has states; keep the cache on the host and pass it in");
  }
  if (static_cast<size_t>(inputs) == graph.inputs.size() &&
      static_cast<size_t>(outputs) == graph.outputs.size()) {
    return OkStatus();
  }
  return InvalidInput("described are " + std::to_string(inputs) + " inputs and " +
                      std::to_string(outputs) + " outputs; the program has " +
                      std::to_string(graph.inputs.size()) + " and " +
                      std::to_string(graph.outputs.size()));
}

}  // namespace

Result<Graph> ReadFunction(const std::string& name, const coreml::Function& function,
                           const WeightBlobFile* weights) {
  NPUMOE_ASSIGN_OR_RETURN(const coreml::Block* block, SelectBlock(function));
  Graph graph;
  graph.name = name;
  for (const coreml::NamedDeclaration& input : function.inputs()) {
    NPUMOE_ASSIGN_OR_RETURN(TensorSpec spec, ReadDeclaration(input.name(), input.type()));
    graph.inputs.push_back(std::move(spec));
  }
  FunctionReader reader{weights, NamesOfValues(function, *block), graph};
  for (const coreml::OperationMessage& message : block->operations()) {
    if (message.type() == "const") {
      NPUMOE_RETURN_IF_ERROR(ReadConst(message, weights, graph));
      continue;
    }
    NPUMOE_ASSIGN_OR_RETURN(Operation operation, ReadOperation(message, reader));
    graph.operations.push_back(std::move(operation));
  }
  graph.outputs.assign(block->outputs().begin(), block->outputs().end());
  return graph;
}

template <class Description>
Status CheckInterface(const Graph& graph, const Description& description) {
  NPUMOE_RETURN_IF_ERROR(CheckCounts(graph, description.inputs_size(), description.outputs_size(),
                                     description.states_size()));
  for (int i = 0; i < description.inputs_size(); ++i) {
    NPUMOE_RETURN_IF_ERROR(
        CheckFeature(graph.inputs[static_cast<size_t>(i)], description.inputs(i)));
  }
  const auto declarations = DeclarationsOf(graph);
  for (int i = 0; i < description.outputs_size(); ++i) {
    const std::string& name = graph.outputs[static_cast<size_t>(i)];
    // CheckGraph came first: every output is declared.
    NPUMOE_RETURN_IF_ERROR(CheckFeature(*declarations.at(name), description.outputs(i)));
  }
  return OkStatus();
}

template Status CheckInterface(const Graph&, const coreml::ModelDescription&);
template Status CheckInterface(const Graph&, const coreml::FunctionDescription&);

}  // namespace npumoe
