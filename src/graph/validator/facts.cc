#include "graph/validator/facts.h"

#include <algorithm>
#include <set>

namespace npumoe {
namespace {

bool MakesWeights(const Operation& operation) { return operation.type.starts_with("constexpr_"); }

// The axis that a matrix product sums over.
int64_t SummedAxis(const TensorSpec& x, bool transposed) {
  const int rank = x.shape.rank();
  if (rank < 2) return rank == 1 ? x.shape[0] : 0;
  return x.shape[transposed ? rank - 2 : rank - 1];
}

}  // namespace

GraphFacts::GraphFacts(const Graph& graph) : graph_(graph), declarations_(DeclarationsOf(graph)) {
  for (const TensorSpec& input : graph.inputs) activations_.push_back(&input);
  for (const Operation& operation : graph.operations) {
    for (const TensorSpec& output : operation.outputs) {
      producers_.emplace(output.name, &operation);
      if (!MakesWeights(operation)) activations_.push_back(&output);
    }
  }
  AddWeights();
  for (const Operation& operation : graph.operations) {
    const TensorSpec* x = SpecOf(operation, "x");
    const TensorSpec* weight = SpecOf(operation, "weight");
    if (operation.type == "conv" && weight != nullptr && weight->shape.rank() >= 3) {
      AddConv(operation);
      AddProduct(operation, Shape(weight->shape.axes().subspan(1)).elements());
    } else if (operation.type == "linear" && weight != nullptr && weight->shape.rank() == 2) {
      AddProduct(operation, weight->shape[1]);
    } else if (operation.type == "matmul" && x != nullptr) {
      AddProduct(operation, SummedAxis(*x, FlagOf(operation, "transpose_x")));
    }
  }
}

void GraphFacts::AddWeights() {
  std::set<std::string_view> parts;  // of constexpr operations
  for (const Operation& operation : graph_.operations) {
    if (!MakesWeights(operation) || operation.outputs.empty()) continue;
    WeightFacts weight{operation.name, operation.outputs.front().shape.elements(), 0};
    for (const auto& [parameter, values] : operation.inputs) {
      const Constant* part = ConstantOf(operation, parameter);
      if (part == nullptr || !std::holds_alternative<WeightData>(part->value)) continue;
      weight.bytes += static_cast<int64_t>(part->spec.bytes());
      parts.insert(part->spec.name);
    }
    weights_.push_back(std::move(weight));
  }
  for (const auto& [name, constant] : graph_.constants) {
    if (!std::holds_alternative<WeightData>(constant.value) || parts.contains(name)) continue;
    weights_.push_back(
        {name, constant.spec.shape.elements(), static_cast<int64_t>(constant.spec.bytes())});
  }
}

void GraphFacts::AddConv(const Operation& operation) {
  const std::vector<int64_t> groups = IntsOf(operation, "groups");
  ConvFacts conv;
  conv.operation = &operation;
  conv.weight = SpecOf(operation, "weight")->shape;
  conv.groups = groups.empty() ? 1 : groups.front();
  conv.strides = IntsOf(operation, "strides");
  const auto producer = producers_.find(operation.Bound("weight")->front());
  if (producer != producers_.end()) conv.weight_op = producer->second->type;
  const TensorSpec* x = SpecOf(operation, "x");
  if (x != nullptr && x->shape.rank() > 1) conv.input_channels = x->shape[1];
  convs_.push_back(std::move(conv));
}

void GraphFacts::AddProduct(const Operation& operation, int64_t summed) {
  if (operation.outputs.empty()) return;
  const auto results = static_cast<double>(operation.outputs.front().shape.elements());
  products_.push_back({&operation, summed, 2 * results * static_cast<double>(summed)});
}

std::vector<const Operation*> GraphFacts::OfType(
    std::initializer_list<std::string_view> types) const {
  std::vector<const Operation*> found;
  for (const Operation& operation : graph_.operations) {
    if (std::find(types.begin(), types.end(), operation.type) != types.end()) {
      found.push_back(&operation);
    }
  }
  return found;
}

const TensorSpec* GraphFacts::SpecOf(const Operation& operation, std::string_view parameter) const {
  const std::vector<std::string>* names = operation.Bound(parameter);
  if (names == nullptr || names->empty()) return nullptr;
  const auto found = declarations_.find(names->front());
  return found == declarations_.end() ? nullptr : found->second;
}

const Constant* GraphFacts::ConstantOf(const Operation& operation,
                                       std::string_view parameter) const {
  const std::vector<std::string>* names = operation.Bound(parameter);
  if (names == nullptr || names->empty()) return nullptr;
  const auto found = graph_.constants.find(names->front());
  return found == graph_.constants.end() ? nullptr : &found->second;
}

bool GraphFacts::IsComputed(const Operation& operation, std::string_view parameter) const {
  const std::vector<std::string>* names = operation.Bound(parameter);
  if (names == nullptr || names->empty()) return false;
  const auto producer = producers_.find(names->front());
  if (producer != producers_.end()) return !MakesWeights(*producer->second);
  return !graph_.constants.contains(names->front());
}

std::vector<int64_t> GraphFacts::IntsOf(const Operation& operation,
                                        std::string_view parameter) const {
  const Constant* constant = ConstantOf(operation, parameter);
  const auto* ints =
      constant == nullptr ? nullptr : std::get_if<std::vector<int32_t>>(&constant->value);
  return ints == nullptr ? std::vector<int64_t>()
                         : std::vector<int64_t>(ints->begin(), ints->end());
}

bool GraphFacts::FlagOf(const Operation& operation, std::string_view parameter) const {
  const Constant* constant = ConstantOf(operation, parameter);
  const auto* flags =
      constant == nullptr ? nullptr : std::get_if<std::vector<bool>>(&constant->value);
  return flags != nullptr && !flags->empty() && flags->front();
}

}  // namespace npumoe
