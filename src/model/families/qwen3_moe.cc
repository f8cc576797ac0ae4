#include "model/families/qwen3_moe.h"

#include "model/config_fields.h"
#include "model/families/common_tensors.h"

namespace npumoe {
namespace {

constexpr std::span<const TensorName> kTensors[] = {
    kBackboneTensors, kGroupedQueryTensors, kQkNormTensors, kMlpExpertTensors, kDenseMlpTensors};

Result<ModelConfig> ReadConfig(const JsonObject& json) {
  NPUMOE_RETURN_IF_ERROR(RefuseUnsupportedFields(json));
  ModelConfig config;
  NPUMOE_RETURN_IF_ERROR(ReadBackbone(json, {.norm_eps = 1e-6}, config));
  NPUMOE_RETURN_IF_ERROR(RefuseSlidingWindow(json, config.num_layers));
  NPUMOE_ASSIGN_OR_RETURN(config.attention, ReadAttention(json, config.hidden_size));
  NPUMOE_RETURN_IF_ERROR(ReadAttentionBias(json, false, config.attention));
  config.attention.qk_norm = QkNorm::kPerHead;
  NPUMOE_ASSIGN_OR_RETURN(config.rope, ReadRope(json, {.theta = 10'000}, config));
  NPUMOE_RETURN_IF_ERROR(ReadExperts(json, "moe_intermediate_size", config));
  NPUMOE_ASSIGN_OR_RETURN(config.moe.normalize_top_k, json.Bool("norm_topk_prob", false));
  NPUMOE_RETURN_IF_ERROR(ReadSparseLayers(json, config));
  return config;
}

}  // namespace

const ModelFamily kQwen3Moe = {"qwen3_moe", &ReadConfig, kTensors, kFusedMlpExperts,
                               kRotaryBuffers};

}  // namespace npumoe
