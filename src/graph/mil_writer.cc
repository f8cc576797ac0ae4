#include "graph/mil_writer.h"

#include <set>
#include <string_view>
#include <vector>

#include "graph/mil_types.h"

namespace npumoe {
namespace {

void DeclareTensor(coreml::ElementType element, const Shape& shape,
                   coreml::ValueDeclaration* declaration) {
  coreml::TensorDeclaration* tensor = declaration->mutable_tensor();
  tensor->set_element(element);
  tensor->set_rank(shape.rank());
  for (const int64_t axis : shape.axes()) {
    tensor->add_axes()->mutable_fixed()->set_size(static_cast<uint64_t>(axis));
  }
}

coreml::ElementType ElementOf(const TensorSpec& spec) {
  const std::optional<coreml::ElementType> element = ElementTypeOf(spec.dtype);
  NPUMOE_CHECK(element.has_value());
  return *element;
}

void DeclareNamed(const TensorSpec& spec, coreml::NamedDeclaration* named) {
  named->set_name(spec.name);
  DeclareTensor(ElementOf(spec), spec.shape, named->mutable_type());
}

void SetText(const std::string& text, coreml::Value* value) {
  DeclareTensor(coreml::ELEMENT_STRING, Shape{}, value->mutable_type());
  value->mutable_immediate()->mutable_tensor()->mutable_strings()->add_values(text);
}

void SetFloats(const std::vector<float>& values, DType dtype, coreml::TensorLiteral* literal) {
  if (dtype == DType::kF32) {
    for (const float value : values) literal->mutable_floats()->add_values(value);
    return;
  }
  std::string raw;
  for (const float value : values) {
    const uint16_t bits = F16FromF32(value);
    raw += static_cast<char>(bits & 0xff);
    raw += static_cast<char>(bits >> 8);
  }
  literal->mutable_raw()->set_values(raw);
}

// A constant inside the program.
void SetImmediate(const Constant& constant, coreml::Value* value) {
  if (const auto* text = std::get_if<std::string>(&constant.value)) return SetText(*text, value);
  DeclareTensor(ElementOf(constant.spec), constant.spec.shape, value->mutable_type());
  coreml::TensorLiteral* literal = value->mutable_immediate()->mutable_tensor();
  if (const auto* ints = std::get_if<std::vector<int32_t>>(&constant.value)) {
    for (const int32_t entry : *ints) literal->mutable_ints()->add_values(entry);
  } else if (const auto* flags = std::get_if<std::vector<bool>>(&constant.value)) {
    for (const bool entry : *flags) literal->mutable_bools()->add_values(entry);
  } else {
    SetFloats(std::get<std::vector<float>>(constant.value), constant.spec.dtype, literal);
  }
}

// Stores a constant, in the weight file or in `value` itself.
Status SetConstant(const Constant& constant, WeightBlobWriter& weights, coreml::Value* value) {
  const auto* weight = std::get_if<WeightData>(&constant.value);
  if (weight == nullptr) {
    SetImmediate(constant, value);
    return OkStatus();
  }
  NPUMOE_ASSIGN_OR_RETURN(const uint64_t offset, weights.Add(constant.spec, *weight));
  DeclareTensor(ElementOf(constant.spec), constant.spec.shape, value->mutable_type());
  value->mutable_blob()->set_file_name(kWeightFileName);
  value->mutable_blob()->set_offset(offset);
  return OkStatus();
}

// Constants that operations bind by name. What only constexpr operations use stands in these.
std::set<std::string_view> NamedConstants(const Graph& graph) {
  std::set<std::string_view> inside, named;
  for (const Operation& operation : graph.operations) {
    for (const auto& [parameter, values] : operation.inputs) {
      (IsConstexpr(operation) ? inside : named).insert(values.begin(), values.end());
    }
  }
  for (const auto& [name, constant] : graph.constants) {
    if (!inside.contains(name)) named.insert(name);
  }
  return named;
}

coreml::OperationMessage* AddOperation(const std::string& type, const std::string& name,
                                       coreml::Block& block) {
  coreml::OperationMessage* message = block.add_operations();
  message->set_type(type);
  SetText(name, &(*message->mutable_attributes())["name"]);
  return message;
}

Status AppendConstants(const Graph& graph, WeightBlobWriter& weights, coreml::Block& block) {
  const std::set<std::string_view> named = NamedConstants(graph);
  for (const auto& [name, constant] : graph.constants) {
    if (!named.contains(name)) continue;
    coreml::OperationMessage* message = AddOperation("const", name, block);
    coreml::Value* value = &(*message->mutable_attributes())["val"];
    NPUMOE_RETURN_IF_ERROR(SetConstant(constant, weights, value));
    coreml::NamedDeclaration* result = message->add_outputs();
    result->set_name(name);
    *result->mutable_type() = value->type();
  }
  return OkStatus();
}

Status AppendOperation(const Graph& graph, const Operation& operation, WeightBlobWriter& weights,
                       coreml::Block& block) {
  coreml::OperationMessage* message = AddOperation(operation.type, operation.name, block);
  for (const auto& [parameter, names] : operation.inputs) {
    coreml::Argument& argument = (*message->mutable_inputs())[parameter];
    for (const std::string& name : names) {
      coreml::Binding* binding = argument.add_bindings();
      if (IsConstexpr(operation)) {
        NPUMOE_RETURN_IF_ERROR(
            SetConstant(graph.constants.at(name), weights, binding->mutable_value()));
      } else {
        binding->set_name(name);
      }
    }
  }
  for (const TensorSpec& output : operation.outputs) DeclareNamed(output, message->add_outputs());
  return OkStatus();
}

void DescribeFeature(const TensorSpec& spec, coreml::Feature* feature) {
  feature->set_name(spec.name);
  coreml::ArrayFeature* array = feature->mutable_type()->mutable_array();
  const std::optional<coreml::ArrayElementType> element = ArrayTypeOf(spec.dtype);
  NPUMOE_CHECK(element.has_value());
  array->set_element(*element);
  for (const int64_t axis : spec.shape.axes()) array->add_shape(axis);
}

// `Description` is the model's description or a function's.
template <class Description>
void DescribeInterface(const Graph& graph, Description* description) {
  for (const TensorSpec& input : graph.inputs) DescribeFeature(input, description->add_inputs());
  const auto declarations = DeclarationsOf(graph);
  for (const std::string& name : graph.outputs) {
    DescribeFeature(*declarations.at(name), description->add_outputs());
  }
}

}  // namespace

Status AppendFunction(const Graph& graph, WeightBlobWriter& weights, coreml::Program& program) {
  coreml::Function& function = (*program.mutable_functions())[graph.name];
  function.set_opset(kOpset);
  for (const TensorSpec& input : graph.inputs) DeclareNamed(input, function.add_inputs());
  coreml::Block& block = (*function.mutable_specializations())[kOpset];
  NPUMOE_RETURN_IF_ERROR(AppendConstants(graph, weights, block));
  for (const Operation& operation : graph.operations) {
    NPUMOE_RETURN_IF_ERROR(AppendOperation(graph, operation, weights, block));
  }
  for (const std::string& output : graph.outputs) block.add_outputs(output);
  return OkStatus();
}

void DescribeFunctions(std::span<const Graph> functions, coreml::ModelDescription& description) {
  if (functions.size() == 1 && functions.front().name == "main") {
    return DescribeInterface(functions.front(), &description);
  }
  for (const Graph& function : functions) {
    coreml::FunctionDescription* entry = description.add_functions();
    entry->set_name(function.name);
    DescribeInterface(function, entry);
  }
  description.set_default_function(functions.front().name);
}

}  // namespace npumoe
