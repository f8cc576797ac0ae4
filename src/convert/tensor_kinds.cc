#include "convert/tensor_kinds.h"

namespace npumoe {
namespace {

struct Kind {
  TensorRole role;
  std::string_view name;
  std::string_view part;  // empty: the class has one
};

// All others are norms and biases.
constexpr Kind kKinds[] = {
    {TensorRole::kEmbedding, "embedding", ""},
    {TensorRole::kLmHead, "head", ""},
    {TensorRole::kQ, "attention", "q"},
    {TensorRole::kK, "attention", "k"},
    {TensorRole::kV, "attention", "v"},
    {TensorRole::kO, "attention", "output"},
    {TensorRole::kQueryDown, "attention", "q_a"},
    {TensorRole::kQueryUp, "attention", "q_b"},
    {TensorRole::kKeyValueDown, "attention", "kv_a"},
    {TensorRole::kKeyValueUp, "attention", "kv_b"},
    {TensorRole::kRouter, "router", ""},
    {TensorRole::kSharedGate, "router", "of the shared expert"},
    {TensorRole::kExpertGate, "experts", "gate"},
    {TensorRole::kExpertUp, "experts", "up"},
    {TensorRole::kExpertDown, "experts", "down"},
    {TensorRole::kSharedExpertGate, "shared expert", "gate"},
    {TensorRole::kSharedExpertUp, "shared expert", "up"},
    {TensorRole::kSharedExpertDown, "shared expert", "down"},
    {TensorRole::kDenseGate, "dense FFN", "gate"},
    {TensorRole::kDenseUp, "dense FFN", "up"},
    {TensorRole::kDenseDown, "dense FFN", "down"},
};

Kind Find(TensorRole role) {
  for (const Kind& kind : kKinds) {
    if (kind.role == role) return kind;
  }
  return {role, "norms and biases", ""};
}

}  // namespace

std::string_view ClassOf(TensorRole role) { return Find(role).name; }

std::string KindOf(TensorRole role) {
  const Kind kind = Find(role);
  return std::string(kind.name) + (kind.part.empty() ? "" : " ") + std::string(kind.part);
}

}  // namespace npumoe
