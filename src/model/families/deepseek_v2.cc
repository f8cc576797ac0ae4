#include "model/families/deepseek_v2.h"

#include <cmath>

#include "model/config_fields.h"
#include "model/families/common_tensors.h"

namespace npumoe {
namespace {

using Role = TensorRole;

constexpr TensorName kLatentAttention[] = {
    {"model.layers.{layer}.self_attn.q_proj.weight", Role::kQ},
    {"model.layers.{layer}.self_attn.q_a_proj.weight", Role::kQueryDown},
    {"model.layers.{layer}.self_attn.q_a_layernorm.weight", Role::kQueryDownNorm},
    {"model.layers.{layer}.self_attn.q_b_proj.weight", Role::kQueryUp},
    {"model.layers.{layer}.self_attn.kv_a_proj_with_mqa.weight", Role::kKeyValueDown},
    {"model.layers.{layer}.self_attn.kv_a_layernorm.weight", Role::kKeyValueDownNorm},
    {"model.layers.{layer}.self_attn.kv_b_proj.weight", Role::kKeyValueUp},
    {"model.layers.{layer}.self_attn.o_proj.weight", Role::kO},
};
constexpr TensorName kSharedExperts[] = {
    {"model.layers.{layer}.mlp.shared_experts.gate_proj.weight", Role::kSharedExpertGate},
    {"model.layers.{layer}.mlp.shared_experts.up_proj.weight", Role::kSharedExpertUp},
    {"model.layers.{layer}.mlp.shared_experts.down_proj.weight", Role::kSharedExpertDown},
};
constexpr std::span<const TensorName> kTensors[] = {
    kBackboneTensors, kLatentAttention, kMlpExpertTensors, kSharedExperts, kDenseMlpTensors};

Result<LatentAttention> ReadLatent(const JsonObject& json) {
  LatentAttention latent;
  NPUMOE_ASSIGN_OR_RETURN(latent.q_lora_rank,
                          ReadDimension(json, "q_lora_rank", kMaxModelWidth, 0));
  NPUMOE_ASSIGN_OR_RETURN(latent.kv_lora_rank, ReadDimension(json, "kv_lora_rank", kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(latent.nope_head_dim,
                          ReadDimension(json, "qk_nope_head_dim", kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(latent.rope_head_dim,
                          ReadDimension(json, "qk_rope_head_dim", kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(latent.value_head_dim, ReadDimension(json, "v_head_dim", kMaxModelWidth));
  if (latent.rope_head_dim % 2 == 0) return latent;
  return json.FieldError("qk_rope_head_dim", "rotary positions need an even size");
}

Result<AttentionConfig> ReadLatentAttention(const JsonObject& json) {
  AttentionConfig attention;
  NPUMOE_ASSIGN_OR_RETURN(const LatentAttention latent, ReadLatent(json));
  NPUMOE_ASSIGN_OR_RETURN(attention.num_heads,
                          ReadDimension(json, "num_attention_heads", kMaxModelHeads));
  NPUMOE_ASSIGN_OR_RETURN(
      attention.num_kv_heads,
      ReadDimension(json, "num_key_value_heads", kMaxModelHeads, attention.num_heads));
  if (attention.num_kv_heads != attention.num_heads) {
    return json.FieldError("num_key_value_heads",
                           "latent attention has as many as num_attention_heads, which is " +
                               std::to_string(attention.num_heads));
  }
  attention.head_dim = latent.nope_head_dim + latent.rope_head_dim;
  const int widest = std::max(attention.head_dim, latent.nope_head_dim + latent.value_head_dim);
  if (widest > kMaxModelWidth / attention.num_heads) {
    return json.FieldError("num_attention_heads", "heads of " + std::to_string(widest) +
                                                      " make rows of more than " +
                                                      std::to_string(kMaxModelWidth));
  }
  attention.latent = latent;
  NPUMOE_ASSIGN_OR_RETURN(const bool bias, json.Bool("attention_bias", false));
  if (bias) return UnsupportedField(json, "attention_bias", "false only in this family");
  return attention;
}

Status ReadRouting(const JsonObject& json, ModelConfig& config) {
  MoeConfig& moe = config.moe;
  NPUMOE_ASSIGN_OR_RETURN(const std::string scoring, json.String("scoring_func", "softmax"));
  if (scoring != "softmax") return UnsupportedField(json, "scoring_func", "\"softmax\" only");
  // No published model of this type sets it, and the reference implementations disagree about it.
  NPUMOE_ASSIGN_OR_RETURN(const bool normalize, json.Bool("norm_topk_prob", false));
  if (normalize) return UnsupportedField(json, "norm_topk_prob", "false only in this family");
  NPUMOE_ASSIGN_OR_RETURN(moe.weight_scale, ReadMultiplier(json, "routed_scaling_factor", 1));
  NPUMOE_ASSIGN_OR_RETURN(const std::string method, json.String("topk_method", "greedy"));
  if (method == "greedy") return OkStatus();
  if (method != "group_limited_greedy") {
    return UnsupportedField(json, "topk_method", "\"greedy\" and \"group_limited_greedy\"");
  }
  moe.rule = RoutingRule::kGroupLimited;
  NPUMOE_ASSIGN_OR_RETURN(moe.num_groups, ReadDimension(json, "n_group", moe.num_experts));
  if (moe.num_experts % moe.num_groups != 0) {
    return json.FieldError(
        "n_group", "must divide n_routed_experts, which is " + std::to_string(moe.num_experts));
  }
  NPUMOE_ASSIGN_OR_RETURN(moe.groups_per_token, ReadDimension(json, "topk_group", moe.num_groups));
  if (moe.num_experts / moe.num_groups * moe.groups_per_token >= moe.experts_per_token) {
    return OkStatus();
  }
  return json.FieldError("topk_group", "so few groups hold fewer experts than a token chooses, " +
                                           std::to_string(moe.experts_per_token));
}

Status ReadMoe(const JsonObject& json, ModelConfig& config) {
  MoeConfig& moe = config.moe;
  NPUMOE_ASSIGN_OR_RETURN(const int64_t experts,
                          json.Int("n_routed_experts", 0, kMaxModelExperts, 0));
  moe.num_experts = static_cast<int>(experts);
  if (moe.num_experts == 0) return OkStatus();
  NPUMOE_RETURN_IF_ERROR(ReadExpertsPerToken(json, config));
  NPUMOE_ASSIGN_OR_RETURN(moe.expert_intermediate_size,
                          ReadDimension(json, "moe_intermediate_size", kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(
      const int64_t shared,
      json.Int("n_shared_experts", 0, kMaxModelWidth / moe.expert_intermediate_size, 0));
  moe.shared_intermediate_size = static_cast<int>(shared) * moe.expert_intermediate_size;
  return ReadRouting(json, config);
}

// The first layers are dense; of the others every moe_layer_freq-th has experts.
Status ReadLayerKinds(const JsonObject& json, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t first,
                          json.Int("first_k_dense_replace", 0, kMaxModelLayers, 0));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t step, json.Int("moe_layer_freq", 1, kMaxModelLayers, 1));
  bool any_dense = false;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const bool moe = config.moe.num_experts > 0 && layer >= first && layer % step == 0;
    config.is_moe_layer.push_back(moe);
    any_dense = any_dense || !moe;
  }
  if (!any_dense) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(config.dense_intermediate_size,
                          ReadDimension(json, "intermediate_size", kMaxModelWidth));
  return OkStatus();
}

// YaRN's sharpening works on the scale of q . k here, and on both factors of the product, so it
// is squared; cos and sin carry the quotient of both multipliers (config_rope.cc).
Status ScaleAttention(const JsonObject& json, ModelConfig& config) {
  const auto* yarn = std::get_if<YarnScaling>(&config.rope.scaling);
  if (yarn == nullptr) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(
      const JsonObject scaling,
      json.Object(json.Has("rope_parameters") ? "rope_parameters" : "rope_scaling"));
  NPUMOE_ASSIGN_OR_RETURN(const double all_dim,
                          scaling.Number("mscale_all_dim", 0.0, kMaxModelMultiplier, 0.0));
  if (all_dim == 0) return OkStatus();
  const double magnitude = YarnMagnitude(yarn->factor, all_dim);
  config.attention.scale =
      static_cast<float>(magnitude * magnitude / std::sqrt(config.attention.head_dim));
  return OkStatus();
}

Result<ModelConfig> ReadConfig(const JsonObject& json) {
  NPUMOE_RETURN_IF_ERROR(RefuseUnsupportedFields(json));
  ModelConfig config;
  NPUMOE_RETURN_IF_ERROR(ReadBackbone(json, {.norm_eps = 1e-6}, config));
  NPUMOE_ASSIGN_OR_RETURN(config.attention, ReadLatentAttention(json));
  NPUMOE_ASSIGN_OR_RETURN(config.rope, ReadRope(json, {.theta = 10'000}, config));
  config.rope.pairs = RopePairs::kInterleaved;
  NPUMOE_RETURN_IF_ERROR(ScaleAttention(json, config));
  NPUMOE_RETURN_IF_ERROR(ReadMoe(json, config));
  NPUMOE_RETURN_IF_ERROR(ReadLayerKinds(json, config));
  return config;
}

}  // namespace

const ModelFamily kDeepseekV2 = {"deepseek_v2", &ReadConfig, kTensors, kFusedMlpExperts,
                                 kRotaryBuffers};

}  // namespace npumoe
