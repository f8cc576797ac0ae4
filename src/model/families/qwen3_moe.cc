#include "model/families/qwen3_moe.h"

#include <algorithm>

#include "model/config_fields.h"

namespace npumoe {
namespace {

using Role = TensorRole;
using Axis = TensorAxis;
using Presence = TensorPresence;

constexpr TensorPattern kTensors[] = {
    {"model.embed_tokens.weight", Role::kEmbedding, {Axis::kVocab, Axis::kHidden}},
    {"model.norm.weight", Role::kFinalNorm, {Axis::kHidden}},
    {"lm_head.weight", Role::kLmHead, {Axis::kVocab, Axis::kHidden}, Presence::kUnlessTied},
    {"model.layers.{layer}.input_layernorm.weight", Role::kAttentionNorm, {Axis::kHidden}},
    {"model.layers.{layer}.post_attention_layernorm.weight", Role::kFfnNorm, {Axis::kHidden}},
    {"model.layers.{layer}.self_attn.q_proj.weight", Role::kQ, {Axis::kQuery, Axis::kHidden}},
    {"model.layers.{layer}.self_attn.k_proj.weight", Role::kK, {Axis::kKeyValue, Axis::kHidden}},
    {"model.layers.{layer}.self_attn.v_proj.weight", Role::kV, {Axis::kKeyValue, Axis::kHidden}},
    {"model.layers.{layer}.self_attn.o_proj.weight", Role::kO, {Axis::kHidden, Axis::kQuery}},
    {"model.layers.{layer}.self_attn.q_proj.bias",
     Role::kQBias,
     {Axis::kQuery},
     Presence::kProjectionBias},
    {"model.layers.{layer}.self_attn.k_proj.bias",
     Role::kKBias,
     {Axis::kKeyValue},
     Presence::kProjectionBias},
    {"model.layers.{layer}.self_attn.v_proj.bias",
     Role::kVBias,
     {Axis::kKeyValue},
     Presence::kProjectionBias},
    {"model.layers.{layer}.self_attn.o_proj.bias",
     Role::kOBias,
     {Axis::kHidden},
     Presence::kOutputBias},
    {"model.layers.{layer}.self_attn.q_norm.weight",
     Role::kQNorm,
     {Axis::kHeadDim},
     Presence::kHeadNorm},
    {"model.layers.{layer}.self_attn.k_norm.weight",
     Role::kKNorm,
     {Axis::kHeadDim},
     Presence::kHeadNorm},
    {"model.layers.{layer}.mlp.gate.weight",
     Role::kRouter,
     {Axis::kExperts, Axis::kHidden},
     Presence::kMoeLayer},
    {"model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight",
     Role::kExpertGate,
     {Axis::kExpertIntermediate, Axis::kHidden},
     Presence::kMoeLayer},
    {"model.layers.{layer}.mlp.experts.{expert}.up_proj.weight",
     Role::kExpertUp,
     {Axis::kExpertIntermediate, Axis::kHidden},
     Presence::kMoeLayer},
    {"model.layers.{layer}.mlp.experts.{expert}.down_proj.weight",
     Role::kExpertDown,
     {Axis::kHidden, Axis::kExpertIntermediate},
     Presence::kMoeLayer},
    {"model.layers.{layer}.mlp.gate_proj.weight",
     Role::kDenseGate,
     {Axis::kDenseIntermediate, Axis::kHidden},
     Presence::kDenseLayer},
    {"model.layers.{layer}.mlp.up_proj.weight",
     Role::kDenseUp,
     {Axis::kDenseIntermediate, Axis::kHidden},
     Presence::kDenseLayer},
    {"model.layers.{layer}.mlp.down_proj.weight",
     Role::kDenseDown,
     {Axis::kHidden, Axis::kDenseIntermediate},
     Presence::kDenseLayer},
};

// Buffers that follow from the config and that old checkpoints stored beside the weights.
constexpr std::string_view kIgnored[] = {".self_attn.rotary_emb.inv_freq", ".rotary_emb.inv_freq"};

// A layer l is MoE unless it is listed in mlp_only_layers, when (l + 1) % decoder_sparse_step is
// 0 and there are experts at all.
Status ReadLayerKinds(const JsonObject& json, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<int64_t> dense_layers,
                          json.Ints("mlp_only_layers", 0, std::max(0, config.num_layers - 1)));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t step,
                          json.Int("decoder_sparse_step", 1, kMaxModelLayers, 1));
  config.is_moe_layer.resize(static_cast<size_t>(config.num_layers));
  for (int layer = 0; layer < config.num_layers; ++layer) {
    config.is_moe_layer[static_cast<size_t>(layer)] =
        config.moe.num_experts > 0 && (layer + 1) % step == 0;
  }
  for (const int64_t layer : dense_layers) config.is_moe_layer[static_cast<size_t>(layer)] = false;
  return OkStatus();
}

Status ReadExperts(const JsonObject& json, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(config.moe.num_experts, ReadExpertCount(json));
  if (config.moe.num_experts == 0) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(config.moe.experts_per_token,
                          ReadDimension(json, "num_experts_per_tok", kMaxModelExperts));
  if (config.moe.experts_per_token > config.moe.num_experts) {
    return json.FieldError("num_experts_per_tok", "must not exceed num_experts, which is " +
                                                      std::to_string(config.moe.num_experts));
  }
  NPUMOE_ASSIGN_OR_RETURN(config.moe.expert_intermediate_size,
                          ReadDimension(json, "moe_intermediate_size", kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(config.moe.normalize_top_k, json.Bool("norm_topk_prob", false));
  return OkStatus();
}

Result<ModelConfig> ReadConfig(const JsonObject& json) {
  NPUMOE_RETURN_IF_ERROR(RefuseQuantization(json));
  NPUMOE_RETURN_IF_ERROR(RefuseActivationOtherThanSilu(json));
  NPUMOE_RETURN_IF_ERROR(RefuseSlidingWindow(json));
  ModelConfig config;
  NPUMOE_RETURN_IF_ERROR(ReadBackbone(json, config));
  NPUMOE_ASSIGN_OR_RETURN(config.attention, ReadAttention(json, config.hidden_size));
  NPUMOE_ASSIGN_OR_RETURN(config.attention.projection_bias, json.Bool("attention_bias", false));
  config.attention.output_bias = config.attention.projection_bias;
  config.attention.qk_norm = QkNorm::kPerHead;
  NPUMOE_ASSIGN_OR_RETURN(config.rope, ReadPlainRope(json));
  NPUMOE_RETURN_IF_ERROR(ReadExperts(json, config));
  NPUMOE_RETURN_IF_ERROR(ReadLayerKinds(json, config));
  if (std::ranges::find(config.is_moe_layer, false) != config.is_moe_layer.end()) {
    NPUMOE_ASSIGN_OR_RETURN(config.dense_intermediate_size,
                            ReadDimension(json, "intermediate_size", kMaxModelWidth));
  }
  return config;
}

}  // namespace

const ModelFamily kQwen3Moe = {"qwen3_moe", &ReadConfig, kTensors, kIgnored};

}  // namespace npumoe
