#include "model/families/gpt_oss.h"

#include "model/config_fields.h"
#include "model/families/common_tensors.h"

namespace npumoe {
namespace {

using Role = TensorRole;

// The experts' own names stand in no published file: they name single experts in messages.
constexpr TensorName kOwnTensors[] = {
    {"model.layers.{layer}.self_attn.sinks", Role::kSinks},
    {"model.layers.{layer}.mlp.router.weight", Role::kRouter},
    {"model.layers.{layer}.mlp.router.bias", Role::kRouterBias},
    {"model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight", Role::kExpertGate},
    {"model.layers.{layer}.mlp.experts.{expert}.up_proj.weight", Role::kExpertUp},
    {"model.layers.{layer}.mlp.experts.{expert}.down_proj.weight", Role::kExpertDown},
    {"model.layers.{layer}.mlp.experts.{expert}.gate_proj.bias", Role::kExpertGateBias},
    {"model.layers.{layer}.mlp.experts.{expert}.up_proj.bias", Role::kExpertUpBias},
    {"model.layers.{layer}.mlp.experts.{expert}.down_proj.bias", Role::kExpertDownBias},
};
constexpr std::span<const TensorName> kTensors[] = {kBackboneTensors, kGroupedQueryTensors,
                                                    kOwnTensors};

constexpr std::array<Role, 2> kGateAndUp = {Role::kExpertGate, Role::kExpertUp};
constexpr std::array<Role, 2> kDown = {Role::kExpertDown, Role::kExpertDown};
constexpr FusedTensor kFused[] = {
    {"model.layers.{layer}.mlp.experts.gate_up_proj", kGateAndUp, FusedRows::kAlternating,
     FusedEncoding::kTransposed},
    {"model.layers.{layer}.mlp.experts.down_proj", kDown, FusedRows::kOneRole,
     FusedEncoding::kTransposed},
    {"model.layers.{layer}.mlp.experts.gate_up_proj", kGateAndUp, FusedRows::kAlternating,
     FusedEncoding::kMxfp4},
    {"model.layers.{layer}.mlp.experts.down_proj", kDown, FusedRows::kOneRole,
     FusedEncoding::kMxfp4},
    {"model.layers.{layer}.mlp.experts.gate_up_proj_bias",
     {Role::kExpertGateBias, Role::kExpertUpBias},
     FusedRows::kAlternating},
    {"model.layers.{layer}.mlp.experts.down_proj_bias",
     {Role::kExpertDownBias, Role::kExpertDownBias}},
};

// Older files say experts_per_token, published ones both.
Status ReadRouting(const JsonObject& json, ModelConfig& config) {
  NPUMOE_RETURN_IF_ERROR(ReadExperts(json, "intermediate_size", config));
  NPUMOE_RETURN_IF_ERROR(MakeAllLayersMoe(json, config));
  const int chosen = config.moe.experts_per_token;
  NPUMOE_ASSIGN_OR_RETURN(const int same,
                          ReadDimension(json, "experts_per_token", kMaxModelExperts, chosen));
  if (same != chosen) {
    return json.FieldError("experts_per_token",
                           "contradicts num_experts_per_tok, which is " + std::to_string(chosen));
  }
  config.moe.rule = RoutingRule::kTopKSoftmax;
  config.moe.router_bias = true;
  config.moe.expert_bias = true;
  config.moe.activation = ExpertActivation::kClampedSwiGlu;
  NPUMOE_ASSIGN_OR_RETURN(config.moe.activation_limit, ReadMultiplier(json, "swiglu_limit", 7));
  return OkStatus();
}

Status ReadLayerWindows(const JsonObject& json, ModelConfig& config) {
  AttentionConfig& attention = config.attention;
  NPUMOE_ASSIGN_OR_RETURN(attention.window_tokens, ReadWindow(json));
  if (attention.window_tokens == 0) {
    return json.FieldError("sliding_window", "a model of this type has one");
  }
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<std::string> types,
                          ReadLayerTypes(json, config.num_layers));
  for (int i = 0; i < config.num_layers && types.empty(); ++i) {
    attention.layer_has_window.push_back(i % 2 == 0);  // without a list: every other layer
  }
  for (const std::string& type : types) {
    if (type != "sliding_attention" && type != "full_attention") {
      return UnsupportedField(json, "layer_types", "\"sliding_attention\" and \"full_attention\"",
                              type);
    }
    attention.layer_has_window.push_back(type == "sliding_attention");
  }
  return OkStatus();
}

Result<ModelConfig> ReadConfig(const JsonObject& json) {
  NPUMOE_RETURN_IF_ERROR(RefuseUnsupportedFields(json, "mxfp4"));
  ModelConfig config;
  NPUMOE_RETURN_IF_ERROR(ReadBackbone(json, {.norm_eps = 1e-5}, config));
  NPUMOE_ASSIGN_OR_RETURN(config.attention, ReadAttention(json, config.hidden_size));
  NPUMOE_RETURN_IF_ERROR(ReadAttentionBias(json, true, config.attention));
  config.attention.has_sinks = true;
  NPUMOE_RETURN_IF_ERROR(ReadLayerWindows(json, config));
  NPUMOE_ASSIGN_OR_RETURN(config.rope, ReadRope(json, {.theta = 150'000}, config));
  NPUMOE_RETURN_IF_ERROR(ReadRouting(json, config));
  return config;
}

}  // namespace

const ModelFamily kGptOss = {"gpt_oss", &ReadConfig,    kTensors,
                             kFused,    kRotaryBuffers, PublishedExperts::kFused};

}  // namespace npumoe
