#include "model/weight_binding.h"

namespace npumoe {
namespace {

using Role = TensorRole;

bool IsOfExpert(Role role) {
  return ScopeOf(role) == RoleScope::kExpert || IsSharedExpertRole(role);
}

template <class Weights>
auto SlotInFfn(Role role, Weights& ffn) -> decltype(&ffn.gate) {
  switch (role) {
    case Role::kExpertGate:
    case Role::kSharedExpertGate:
    case Role::kDenseGate:
      return &ffn.gate;
    case Role::kExpertUp:
    case Role::kSharedExpertUp:
    case Role::kDenseUp:
      return &ffn.up;
    case Role::kExpertDown:
    case Role::kSharedExpertDown:
    case Role::kDenseDown:
      return &ffn.down;
    case Role::kExpertGateBias:
      return &ffn.gate_bias;
    case Role::kExpertUpBias:
      return &ffn.up_bias;
    case Role::kExpertDownBias:
      return &ffn.down_bias;
    default:
      return nullptr;
  }
}

template <class Weights>
auto SlotInLatent(Role role, Weights& latent) -> decltype(&latent.q_a) {
  switch (role) {
    case Role::kQueryDown:
      return &latent.q_a;
    case Role::kQueryDownNorm:
      return &latent.q_a_norm;
    case Role::kQueryUp:
      return &latent.q_b;
    case Role::kKeyValueDown:
      return &latent.kv_a;
    case Role::kKeyValueDownNorm:
      return &latent.kv_a_norm;
    case Role::kKeyValueUp:
      return &latent.kv_b;
    default:
      return nullptr;
  }
}

template <class Weights>
auto SlotInAttention(Role role, Weights& attention) -> decltype(&attention.q) {
  switch (role) {
    case Role::kQ:
      return &attention.q;
    case Role::kK:
      return &attention.k;
    case Role::kV:
      return &attention.v;
    case Role::kO:
      return &attention.o;
    case Role::kQBias:
      return &attention.q_bias;
    case Role::kKBias:
      return &attention.k_bias;
    case Role::kVBias:
      return &attention.v_bias;
    case Role::kOBias:
      return &attention.o_bias;
    case Role::kQNorm:
      return &attention.q_norm;
    case Role::kKNorm:
      return &attention.k_norm;
    case Role::kSinks:
      return &attention.sinks;
    default:
      return SlotInLatent(role, attention.latent);
  }
}

template <class Layer>
auto SlotInLayer(const ExpectedTensor& tensor, Layer& layer) -> decltype(&layer.router) {
  switch (tensor.role) {
    case Role::kAttentionNorm:
      return &layer.attention_norm;
    case Role::kAttentionNormBias:
      return &layer.attention_norm_bias;
    case Role::kFfnNorm:
      return &layer.ffn_norm;
    case Role::kFfnNormBias:
      return &layer.ffn_norm_bias;
    case Role::kRouter:
      return &layer.router;
    case Role::kRouterBias:
      return &layer.router_bias;
    case Role::kSharedGate:
      return &layer.shared_gate;
    case Role::kDenseGate:
    case Role::kDenseUp:
    case Role::kDenseDown:
      return SlotInFfn(tensor.role, layer.dense);
    default:
      break;
  }
  if (!IsOfExpert(tensor.role)) {
    return SlotInAttention(tensor.role, layer.attention);
  }
  const auto expert = static_cast<size_t>(tensor.expert);
  return expert < layer.experts.size() ? SlotInFfn(tensor.role, layer.experts[expert]) : nullptr;
}

// Null where the layer or the expert is not there.
template <class Weights>
auto Slot(const ExpectedTensor& tensor, Weights& weights) -> decltype(&weights.lm_head) {
  switch (tensor.role) {
    case Role::kEmbedding:
      return &weights.embedding;
    case Role::kFinalNorm:
      return &weights.final_norm;
    case Role::kFinalNormBias:
      return &weights.final_norm_bias;
    case Role::kLmHead:
      return &weights.lm_head;
    case Role::kLmHeadBias:
      return &weights.lm_head_bias;
    default:
      break;
  }
  const auto layer = static_cast<size_t>(tensor.layer);
  return layer < weights.layers.size() ? SlotInLayer(tensor, weights.layers[layer]) : nullptr;
}

void Grow(const ExpectedTensor& tensor, ModelWeights& weights) {
  if (ScopeOf(tensor.role) == RoleScope::kModel) return;
  const auto layer = static_cast<size_t>(tensor.layer);
  if (weights.layers.size() <= layer) weights.layers.resize(layer + 1);
  if (!IsOfExpert(tensor.role)) return;
  const auto expert = static_cast<size_t>(tensor.expert);
  std::vector<FfnWeights>& experts = weights.layers[layer].experts;
  if (experts.size() <= expert) experts.resize(expert + 1);
}

}  // namespace

void PlaceTensor(const ExpectedTensor& tensor, const TensorView& view, ModelWeights& weights) {
  Grow(tensor, weights);
  TensorView* const slot = Slot(tensor, weights);
  NPUMOE_CHECK(slot != nullptr);
  *slot = view;
}

const TensorView* PlacedTensor(const ExpectedTensor& tensor, const ModelWeights& weights) {
  const TensorView* const slot = Slot(tensor, weights);
  return slot == nullptr || slot->empty() ? nullptr : slot;
}

}  // namespace npumoe
