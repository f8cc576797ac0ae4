#include "model/families/phimoe.h"

#include "model/config_fields.h"
#include "model/families/common_tensors.h"

namespace npumoe {
namespace {

constexpr TensorName kNewerNames[] = {
    {"model.layers.{layer}.mlp.router.weight", TensorRole::kRouter},
};
constexpr std::span<const TensorName> kTensors[] = {kBackboneTensors, kGroupedQueryTensors,
                                                    kBlockSparseExpertTensors, kNewerNames};

// SparseMixer picks one expert, then another: it has no form for another number.
Status ReadRouting(const JsonObject& json, ModelConfig& config) {
  config.moe.rule = RoutingRule::kSparseMixer;
  NPUMOE_ASSIGN_OR_RETURN(config.moe.sparse_mixer_jitter,
                          ReadMultiplier(json, "router_jitter_noise", 0.01f));
  if (config.moe.experts_per_token == 2) return OkStatus();
  return json.FieldError("num_experts_per_tok", "SparseMixer routing chooses 2 experts");
}

Result<ModelConfig> ReadConfig(const JsonObject& json) {
  NPUMOE_RETURN_IF_ERROR(RefuseUnsupportedFields(json));
  ModelConfig config;
  config.norm = NormKind::kLayer;
  NPUMOE_RETURN_IF_ERROR(ReadBackbone(json, {.norm_eps = 1e-5}, config));
  NPUMOE_ASSIGN_OR_RETURN(config.lm_head_bias, json.Bool("lm_head_bias", false));
  NPUMOE_ASSIGN_OR_RETURN(config.attention, ReadAttention(json, config.hidden_size));
  NPUMOE_RETURN_IF_ERROR(ReadAttentionBias(json, false, config.attention));
  NPUMOE_ASSIGN_OR_RETURN(config.attention.window_tokens, ReadWindow(json));
  NPUMOE_ASSIGN_OR_RETURN(config.rope,
                          ReadRope(json, {.theta = 1'000'000, .long_rope = true}, config));
  NPUMOE_RETURN_IF_ERROR(ReadExperts(json, "intermediate_size", config));
  NPUMOE_RETURN_IF_ERROR(MakeAllLayersMoe(json, config));
  NPUMOE_RETURN_IF_ERROR(ReadRouting(json, config));
  return config;
}

}  // namespace

const ModelFamily kPhiMoe = {"phimoe", &ReadConfig, kTensors, kFusedMlpExperts, kRotaryBuffers};

}  // namespace npumoe
