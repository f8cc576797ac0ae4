#include "graph/graph.h"

#include <algorithm>

namespace npumoe {
namespace {

const TensorSpec* FindByName(const std::vector<TensorSpec>& specs, const std::string& name) {
  const auto found = std::find_if(specs.begin(), specs.end(),
                                  [&](const TensorSpec& spec) { return spec.name == name; });
  return found == specs.end() ? nullptr : &*found;
}

}  // namespace

const std::vector<std::string>* Operation::Bound(std::string_view parameter) const {
  for (const auto& [input, values] : inputs) {
    if (input == parameter) return &values;
  }
  return nullptr;
}

bool IsConstexpr(const Operation& operation) { return operation.type.starts_with("constexpr_"); }

const TensorSpec* Graph::Find(const std::string& value) const {
  if (const auto constant = constants.find(value); constant != constants.end()) {
    return &constant->second.spec;
  }
  if (const TensorSpec* input = FindByName(inputs, value)) return input;
  for (const Operation& operation : operations) {
    if (const TensorSpec* output = FindByName(operation.outputs, value)) return output;
  }
  return nullptr;
}

int64_t Graph::WeightBytes() const {
  int64_t bytes = 0;
  for (const auto& [value, constant] : constants) {
    if (std::holds_alternative<WeightData>(constant.value)) {
      bytes += static_cast<int64_t>(constant.spec.bytes());
    }
  }
  return bytes;
}

std::unordered_map<std::string_view, const TensorSpec*> DeclarationsOf(const Graph& graph) {
  std::unordered_map<std::string_view, const TensorSpec*> declarations;
  for (const TensorSpec& input : graph.inputs) declarations.emplace(input.name, &input);
  for (const auto& [name, constant] : graph.constants) {
    declarations.emplace(name, &constant.spec);
  }
  for (const Operation& operation : graph.operations) {
    for (const TensorSpec& output : operation.outputs) declarations.emplace(output.name, &output);
  }
  return declarations;
}

}  // namespace npumoe
