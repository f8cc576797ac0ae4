#include "model/families/olmoe.h"

#include "model/config_fields.h"
#include "model/families/common_tensors.h"

namespace npumoe {
namespace {

constexpr std::span<const TensorName> kTensors[] = {kBackboneTensors, kGroupedQueryTensors,
                                                    kQkNormTensors, kMlpExpertTensors};

Result<ModelConfig> ReadConfig(const JsonObject& json) {
  NPUMOE_RETURN_IF_ERROR(RefuseUnsupportedFields(json));
  ModelConfig config;
  NPUMOE_RETURN_IF_ERROR(ReadBackbone(json, {.norm_eps = 1e-5}, config));
  NPUMOE_ASSIGN_OR_RETURN(config.attention, ReadAttention(json, config.hidden_size));
  NPUMOE_RETURN_IF_ERROR(ReadAttentionBias(json, false, config.attention));
  config.attention.qk_norm = QkNorm::kWholeRow;
  NPUMOE_ASSIGN_OR_RETURN(config.attention.clip_qkv, ReadMultiplier(json, "clip_qkv", 0));
  NPUMOE_ASSIGN_OR_RETURN(config.rope, ReadRope(json, {.theta = 10'000}, config));
  NPUMOE_RETURN_IF_ERROR(ReadExperts(json, "intermediate_size", config));
  NPUMOE_RETURN_IF_ERROR(MakeAllLayersMoe(json, config));
  NPUMOE_ASSIGN_OR_RETURN(config.moe.normalize_top_k, json.Bool("norm_topk_prob", false));
  return config;
}

}  // namespace

const ModelFamily kOlmoe = {"olmoe", &ReadConfig, kTensors, kFusedMlpExperts, kRotaryBuffers};

}  // namespace npumoe
