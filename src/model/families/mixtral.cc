#include "model/families/mixtral.h"

#include "model/config_fields.h"
#include "model/families/common_tensors.h"

namespace npumoe {
namespace {

constexpr TensorName kNewerNames[] = {
    {"model.layers.{layer}.mlp.gate.weight", TensorRole::kRouter},
};
constexpr std::span<const TensorName> kTensors[] = {kBackboneTensors, kGroupedQueryTensors,
                                                    kBlockSparseExpertTensors, kNewerNames};

Result<ModelConfig> ReadConfig(const JsonObject& json) {
  NPUMOE_RETURN_IF_ERROR(RefuseUnsupportedFields(json));
  ModelConfig config;
  NPUMOE_RETURN_IF_ERROR(ReadBackbone(json, {.norm_eps = 1e-5}, config));
  NPUMOE_ASSIGN_OR_RETURN(config.attention, ReadAttention(json, config.hidden_size));
  NPUMOE_ASSIGN_OR_RETURN(config.attention.window_tokens, ReadWindow(json));
  NPUMOE_ASSIGN_OR_RETURN(config.rope, ReadRope(json, {.theta = 1'000'000}, config));
  NPUMOE_RETURN_IF_ERROR(ReadExperts(json, "intermediate_size", config));
  NPUMOE_RETURN_IF_ERROR(MakeAllLayersMoe(json, config));
  config.moe.normalize_top_k = true;
  return config;
}

}  // namespace

const ModelFamily kMixtral = {"mixtral", &ReadConfig, kTensors, kFusedMlpExperts, kRotaryBuffers};

}  // namespace npumoe
