#include "model/gguf/architecture.h"

#include <array>

#include "base/check.h"

namespace npumoe {
namespace {

using Role = TensorRole;

// The names and conventions are those of llama.cpp and of its conversion scripts.
constexpr GgufArchitecture kArchitectures[] = {
    {.name = "qwen3moe",
     .family = "qwen3_moe",
     .qk_norm = QkNorm::kPerHead,
     .normalizes_top_k = true,
     .has_expert_width = true},
    {.name = "qwen2moe", .family = "qwen2_moe", .has_expert_width = true},
    {.name = "olmoe", .family = "olmoe", .qk_norm = QkNorm::kWholeRow},
    {.name = "llama",
     .family = "mixtral",
     .pairs = RopePairs::kInterleaved,
     .normalizes_top_k = true},
    {.name = "granitemoe",
     .family = "granitemoe",
     .pairs = RopePairs::kInterleaved,
     .rule = RoutingRule::kTopKSoftmax},
    {.name = "phimoe",
     .family = "phimoe",
     .norm = NormKind::kLayer,
     .rule = RoutingRule::kSparseMixer},
    {.name = "deepseek2",
     .family = "deepseek_v2",
     .pairs = RopePairs::kInterleaved,
     .has_expert_width = true},
    {.name = "gpt-oss",
     .family = "gpt_oss",
     .rule = RoutingRule::kTopKSoftmax,
     .has_expert_width = true,
     .activation = ExpertActivation::kClampedSwiGlu,
     .has_sinks_and_expert_biases = true,
     .ffn_norm = "post_attention_norm"},
};

struct RoleName {
  Role role;
  std::string_view name;  // behind "blk.N." for roles of layers and experts
};

// In the order of the enumeration.
constexpr RoleName kNames[] = {
    {Role::kEmbedding, "token_embd.weight"},
    {Role::kFinalNorm, "output_norm.weight"},
    {Role::kLmHead, "output.weight"},
    {Role::kAttentionNorm, "attn_norm.weight"},
    {Role::kFfnNorm, ".weight"},
    {Role::kQ, "attn_q.weight"},
    {Role::kK, "attn_k.weight"},
    {Role::kV, "attn_v.weight"},
    {Role::kO, "attn_output.weight"},
    {Role::kQBias, "attn_q.bias"},
    {Role::kKBias, "attn_k.bias"},
    {Role::kVBias, "attn_v.bias"},
    {Role::kOBias, "attn_output.bias"},
    {Role::kQNorm, "attn_q_norm.weight"},
    {Role::kKNorm, "attn_k_norm.weight"},
    {Role::kRouter, "ffn_gate_inp.weight"},
    {Role::kExpertGate, "ffn_gate_exps.weight"},
    {Role::kExpertUp, "ffn_up_exps.weight"},
    {Role::kExpertDown, "ffn_down_exps.weight"},
    {Role::kDenseGate, "ffn_gate.weight"},
    {Role::kDenseUp, "ffn_up.weight"},
    {Role::kDenseDown, "ffn_down.weight"},
    {Role::kFinalNormBias, "output_norm.bias"},
    {Role::kLmHeadBias, "output.bias"},
    {Role::kAttentionNormBias, "attn_norm.bias"},
    {Role::kFfnNormBias, ".bias"},
    {Role::kSinks, "attn_sinks.weight"},
    {Role::kQueryDown, "attn_q_a.weight"},
    {Role::kQueryDownNorm, "attn_q_a_norm.weight"},
    {Role::kQueryUp, "attn_q_b.weight"},
    {Role::kKeyValueDown, "attn_kv_a_mqa.weight"},
    {Role::kKeyValueDownNorm, "attn_kv_a_norm.weight"},
    {Role::kKeyValueUp, "attn_kv_b.weight"},
    {Role::kRouterBias, "ffn_gate_inp.bias"},
    {Role::kSharedGate, "ffn_gate_inp_shexp.weight"},
    {Role::kSharedExpertGate, "ffn_gate_shexp.weight"},
    {Role::kSharedExpertUp, "ffn_up_shexp.weight"},
    {Role::kSharedExpertDown, "ffn_down_shexp.weight"},
    {Role::kExpertGateBias, "ffn_gate_exps.bias"},
    {Role::kExpertUpBias, "ffn_up_exps.bias"},
    {Role::kExpertDownBias, "ffn_down_exps.bias"},
};

constexpr bool StandInOrder() {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i].role != static_cast<Role>(i)) return false;
  }
  return std::size(kNames) == static_cast<size_t>(Role::kExpertDownBias) + 1;
}
static_assert(StandInOrder());

}  // namespace

std::span<const GgufArchitecture> AllGgufArchitectures() { return kArchitectures; }

const GgufArchitecture* FindGgufArchitecture(std::string_view name) {
  for (const GgufArchitecture& architecture : kArchitectures) {
    if (architecture.name == name) return &architecture;
  }
  return nullptr;
}

const GgufArchitecture* GgufArchitectureOfFamily(std::string_view family) {
  for (const GgufArchitecture& architecture : kArchitectures) {
    if (architecture.family == family) return &architecture;
  }
  return nullptr;
}

std::string GgufTensorName(const GgufArchitecture& architecture, TensorRole role, int layer) {
  const std::string name(kNames[static_cast<size_t>(role)].name);
  if (ScopeOf(role) == RoleScope::kModel) return name;
  const std::string block = "blk." + std::to_string(layer) + ".";
  const bool is_ffn_norm = role == Role::kFfnNorm || role == Role::kFfnNormBias;
  return block + (is_ffn_norm ? std::string(architecture.ffn_norm) : std::string()) + name;
}

std::string GgufSingleExpertName(TensorRole role, int layer, int expert) {
  const std::string block = "blk." + std::to_string(layer) + ".";
  const std::string suffix = "." + std::to_string(expert) + ".weight";
  if (role == Role::kExpertGate) return block + "ffn_gate" + suffix;
  if (role == Role::kExpertUp) return block + "ffn_up" + suffix;
  if (role == Role::kExpertDown) return block + "ffn_down" + suffix;
  return {};
}

}  // namespace npumoe
