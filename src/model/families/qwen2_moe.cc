#include "model/families/qwen2_moe.h"

#include "model/config_fields.h"
#include "model/families/common_tensors.h"

namespace npumoe {
namespace {

constexpr TensorName kSharedExpert[] = {
    {"model.layers.{layer}.mlp.shared_expert_gate.weight", TensorRole::kSharedGate},
    {"model.layers.{layer}.mlp.shared_expert.gate_proj.weight", TensorRole::kSharedExpertGate},
    {"model.layers.{layer}.mlp.shared_expert.up_proj.weight", TensorRole::kSharedExpertUp},
    {"model.layers.{layer}.mlp.shared_expert.down_proj.weight", TensorRole::kSharedExpertDown},
};
constexpr std::span<const TensorName> kTensors[] = {
    kBackboneTensors, kGroupedQueryTensors, kMlpExpertTensors, kSharedExpert, kDenseMlpTensors};

Status ReadSharedExpert(const JsonObject& json, ModelConfig& config) {
  if (config.moe.num_experts == 0) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(config.moe.shared_intermediate_size,
                          ReadDimension(json, "shared_expert_intermediate_size", kMaxModelWidth));
  config.moe.shared_gate = true;
  return OkStatus();
}

Result<ModelConfig> ReadConfig(const JsonObject& json) {
  NPUMOE_RETURN_IF_ERROR(RefuseUnsupportedFields(json));
  ModelConfig config;
  NPUMOE_RETURN_IF_ERROR(ReadBackbone(json, {.norm_eps = 1e-6}, config));
  NPUMOE_RETURN_IF_ERROR(RefuseSlidingWindow(json, config.num_layers));
  NPUMOE_ASSIGN_OR_RETURN(config.attention, ReadAttention(json, config.hidden_size));
  NPUMOE_ASSIGN_OR_RETURN(config.attention.projection_bias, json.Bool("qkv_bias", true));
  NPUMOE_ASSIGN_OR_RETURN(config.rope, ReadRope(json, {.theta = 10'000}, config));
  NPUMOE_RETURN_IF_ERROR(ReadExperts(json, "moe_intermediate_size", config));
  NPUMOE_ASSIGN_OR_RETURN(config.moe.normalize_top_k, json.Bool("norm_topk_prob", false));
  NPUMOE_RETURN_IF_ERROR(ReadSharedExpert(json, config));
  NPUMOE_RETURN_IF_ERROR(ReadSparseLayers(json, config));
  return config;
}

}  // namespace

const ModelFamily kQwen2Moe = {"qwen2_moe", &ReadConfig, kTensors, kFusedMlpExperts,
                               kRotaryBuffers};

}  // namespace npumoe
