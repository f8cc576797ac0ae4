#include "model/tensor_roles.h"

#include <algorithm>
#include <array>

namespace npumoe {
namespace {

using Role = TensorRole;

// The length of one axis, looked up in the config.
enum class Axis : uint8_t {
  kNone,
  kOne,
  kVocab,
  kHidden,
  kQuery,     // num_heads * head_dim
  kKeyValue,  // num_kv_heads * head_dim
  kAttended,  // what the output projection reads
  kQueryNorm,
  kKeyNorm,
  kHeads,
  kQueryLora,
  kKeyValueLora,
  kLatentRow,    // kv_lora_rank + rope_head_dim
  kLatentHeads,  // num_heads * (nope_head_dim + value_head_dim)
  kExperts,
  kExpertIntermediate,
  kSharedIntermediate,
  kDenseIntermediate,
};

// When a model, or a layer, has the tensor.
enum class Presence : uint8_t {
  kAlways,
  kLayerNorms,
  kHeadBias,
  kWholeQuery,     // q as one product
  kFactoredQuery,  // q as two
  kGroupedQuery,   // k and v of their own
  kLatent,
  kProjectionBias,
  kOutputBias,
  kQkNorm,
  kSinks,
  kMoeLayer,
  kRouterBias,
  kExpertBias,
  kSharedExpert,
  kSharedGate,
  kDenseLayer,
};

struct RoleFacts {
  Role role;
  RoleScope scope;
  Presence presence;
  Axis rows;
  Axis columns = Axis::kNone;
};

constexpr RoleScope kModel = RoleScope::kModel;
constexpr RoleScope kLayer = RoleScope::kLayer;
constexpr RoleScope kExpert = RoleScope::kExpert;

// In the order of the enumeration.
constexpr RoleFacts kFacts[] = {
    {Role::kEmbedding, kModel, Presence::kAlways, Axis::kVocab, Axis::kHidden},
    {Role::kFinalNorm, kModel, Presence::kAlways, Axis::kHidden},
    {Role::kLmHead, kModel, Presence::kAlways, Axis::kVocab, Axis::kHidden},
    {Role::kAttentionNorm, kLayer, Presence::kAlways, Axis::kHidden},
    {Role::kFfnNorm, kLayer, Presence::kAlways, Axis::kHidden},
    {Role::kQ, kLayer, Presence::kWholeQuery, Axis::kQuery, Axis::kHidden},
    {Role::kK, kLayer, Presence::kGroupedQuery, Axis::kKeyValue, Axis::kHidden},
    {Role::kV, kLayer, Presence::kGroupedQuery, Axis::kKeyValue, Axis::kHidden},
    {Role::kO, kLayer, Presence::kAlways, Axis::kHidden, Axis::kAttended},
    {Role::kQBias, kLayer, Presence::kProjectionBias, Axis::kQuery},
    {Role::kKBias, kLayer, Presence::kProjectionBias, Axis::kKeyValue},
    {Role::kVBias, kLayer, Presence::kProjectionBias, Axis::kKeyValue},
    {Role::kOBias, kLayer, Presence::kOutputBias, Axis::kHidden},
    {Role::kQNorm, kLayer, Presence::kQkNorm, Axis::kQueryNorm},
    {Role::kKNorm, kLayer, Presence::kQkNorm, Axis::kKeyNorm},
    {Role::kRouter, kLayer, Presence::kMoeLayer, Axis::kExperts, Axis::kHidden},
    {Role::kExpertGate, kExpert, Presence::kMoeLayer, Axis::kExpertIntermediate, Axis::kHidden},
    {Role::kExpertUp, kExpert, Presence::kMoeLayer, Axis::kExpertIntermediate, Axis::kHidden},
    {Role::kExpertDown, kExpert, Presence::kMoeLayer, Axis::kHidden, Axis::kExpertIntermediate},
    {Role::kDenseGate, kLayer, Presence::kDenseLayer, Axis::kDenseIntermediate, Axis::kHidden},
    {Role::kDenseUp, kLayer, Presence::kDenseLayer, Axis::kDenseIntermediate, Axis::kHidden},
    {Role::kDenseDown, kLayer, Presence::kDenseLayer, Axis::kHidden, Axis::kDenseIntermediate},
    {Role::kFinalNormBias, kModel, Presence::kLayerNorms, Axis::kHidden},
    {Role::kLmHeadBias, kModel, Presence::kHeadBias, Axis::kVocab},
    {Role::kAttentionNormBias, kLayer, Presence::kLayerNorms, Axis::kHidden},
    {Role::kFfnNormBias, kLayer, Presence::kLayerNorms, Axis::kHidden},
    {Role::kSinks, kLayer, Presence::kSinks, Axis::kHeads},
    {Role::kQueryDown, kLayer, Presence::kFactoredQuery, Axis::kQueryLora, Axis::kHidden},
    {Role::kQueryDownNorm, kLayer, Presence::kFactoredQuery, Axis::kQueryLora},
    {Role::kQueryUp, kLayer, Presence::kFactoredQuery, Axis::kQuery, Axis::kQueryLora},
    {Role::kKeyValueDown, kLayer, Presence::kLatent, Axis::kLatentRow, Axis::kHidden},
    {Role::kKeyValueDownNorm, kLayer, Presence::kLatent, Axis::kKeyValueLora},
    {Role::kKeyValueUp, kLayer, Presence::kLatent, Axis::kLatentHeads, Axis::kKeyValueLora},
    {Role::kRouterBias, kLayer, Presence::kRouterBias, Axis::kExperts},
    {Role::kSharedGate, kLayer, Presence::kSharedGate, Axis::kOne, Axis::kHidden},
    {Role::kSharedExpertGate, kLayer, Presence::kSharedExpert, Axis::kSharedIntermediate,
     Axis::kHidden},
    {Role::kSharedExpertUp, kLayer, Presence::kSharedExpert, Axis::kSharedIntermediate,
     Axis::kHidden},
    {Role::kSharedExpertDown, kLayer, Presence::kSharedExpert, Axis::kHidden,
     Axis::kSharedIntermediate},
    {Role::kExpertGateBias, kExpert, Presence::kExpertBias, Axis::kExpertIntermediate},
    {Role::kExpertUpBias, kExpert, Presence::kExpertBias, Axis::kExpertIntermediate},
    {Role::kExpertDownBias, kExpert, Presence::kExpertBias, Axis::kHidden},
};

constexpr size_t kRoles = std::size(kFacts);
static_assert(kRoles == static_cast<size_t>(Role::kExpertDownBias) + 1);

constexpr std::array<Role, kRoles> RolesInOrder() {
  std::array<Role, kRoles> roles{};
  for (size_t i = 0; i < kRoles; ++i) roles[i] = kFacts[i].role;
  return roles;
}
constexpr std::array<Role, kRoles> kAllRoles = RolesInOrder();

constexpr bool StandInOrder() {
  for (size_t i = 0; i < kRoles; ++i) {
    if (kAllRoles[i] != static_cast<Role>(i)) return false;
  }
  return true;
}
static_assert(StandInOrder());

const RoleFacts& FactsOf(Role role) { return kFacts[static_cast<size_t>(role)]; }

int64_t LatentLength(Axis axis, const AttentionConfig& attention) {
  const LatentAttention latent = attention.latent.value_or(LatentAttention());
  switch (axis) {
    case Axis::kQueryLora:
      return latent.q_lora_rank;
    case Axis::kKeyValueLora:
      return latent.kv_lora_rank;
    case Axis::kLatentRow:
      return latent.cache_size();
    case Axis::kLatentHeads:
      return int64_t{attention.num_heads} * (latent.nope_head_dim + latent.value_head_dim);
    default:
      return 0;
  }
}

int64_t AttentionLength(Axis axis, const AttentionConfig& attention) {
  const bool whole_rows = attention.qk_norm == QkNorm::kWholeRow;
  switch (axis) {
    case Axis::kQuery:
      return attention.query_size();
    case Axis::kKeyValue:
      return attention.kv_size();
    case Axis::kAttended:
      return attention.output_size();
    case Axis::kQueryNorm:
      return whole_rows ? attention.query_size() : attention.head_dim;
    case Axis::kKeyNorm:
      return whole_rows ? attention.kv_size() : attention.head_dim;
    case Axis::kHeads:
      return attention.num_heads;
    default:
      return LatentLength(axis, attention);
  }
}

int64_t LengthOf(Axis axis, const ModelConfig& config) {
  switch (axis) {
    case Axis::kOne:
      return 1;
    case Axis::kVocab:
      return config.vocab_size;
    case Axis::kHidden:
      return config.hidden_size;
    case Axis::kExperts:
      return config.moe.num_experts;
    case Axis::kExpertIntermediate:
      return config.moe.expert_intermediate_size;
    case Axis::kSharedIntermediate:
      return config.moe.shared_intermediate_size;
    case Axis::kDenseIntermediate:
      return config.dense_intermediate_size;
    default:
      return AttentionLength(axis, config.attention);
  }
}

bool HasAttentionTensor(Presence presence, const AttentionConfig& attention) {
  switch (presence) {
    case Presence::kWholeQuery:
      return !attention.latent || attention.latent->q_lora_rank == 0;
    case Presence::kFactoredQuery:
      return attention.latent && attention.latent->q_lora_rank > 0;
    case Presence::kGroupedQuery:
      return !attention.latent;
    case Presence::kLatent:
      return attention.latent.has_value();
    case Presence::kProjectionBias:
      return attention.projection_bias;
    case Presence::kOutputBias:
      return attention.output_bias;
    case Presence::kQkNorm:
      return attention.qk_norm != QkNorm::kNone;
    default:
      return attention.has_sinks;
  }
}

bool HasFfnTensor(Presence presence, const MoeConfig& moe, bool is_moe_layer) {
  switch (presence) {
    case Presence::kDenseLayer:
      return !is_moe_layer;
    case Presence::kRouterBias:
      return is_moe_layer && moe.router_bias;
    case Presence::kExpertBias:
      return is_moe_layer && moe.expert_bias;
    case Presence::kSharedExpert:
      return is_moe_layer && moe.has_shared_expert();
    case Presence::kSharedGate:
      return is_moe_layer && moe.has_shared_expert() && moe.shared_gate;
    default:
      return is_moe_layer;
  }
}

}  // namespace

std::span<const TensorRole> AllTensorRoles() { return kAllRoles; }

RoleScope ScopeOf(TensorRole role) { return FactsOf(role).scope; }

bool IsSharedExpertRole(TensorRole role) {
  return FactsOf(role).presence == Presence::kSharedExpert;
}

Shape ShapeOf(TensorRole role, const ModelConfig& config) {
  const RoleFacts& facts = FactsOf(role);
  const int64_t rows = LengthOf(facts.rows, config);
  if (facts.columns == Axis::kNone) return Shape({rows});
  return Shape({rows, LengthOf(facts.columns, config)});
}

bool HasTensor(TensorRole role, const ModelConfig& config, int layer) {
  const Presence presence = FactsOf(role).presence;
  if (presence == Presence::kAlways) return true;
  if (presence == Presence::kLayerNorms) return config.norm == NormKind::kLayer;
  if (presence == Presence::kHeadBias) return config.lm_head_bias;
  if (presence < Presence::kMoeLayer) return HasAttentionTensor(presence, config.attention);
  return HasFfnTensor(presence, config.moe, config.is_moe_layer[static_cast<size_t>(layer)]);
}

}  // namespace npumoe
