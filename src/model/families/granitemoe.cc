#include "model/families/granitemoe.h"

#include "model/config_fields.h"
#include "model/families/common_tensors.h"

namespace npumoe {
namespace {

using Role = TensorRole;

// The experts' own names stand in no published file: they name single experts in messages.
constexpr TensorName kExperts[] = {
    {"model.layers.{layer}.block_sparse_moe.router.layer.weight", Role::kRouter},
    {"model.layers.{layer}.block_sparse_moe.experts.{expert}.gate_proj.weight", Role::kExpertGate},
    {"model.layers.{layer}.block_sparse_moe.experts.{expert}.up_proj.weight", Role::kExpertUp},
    {"model.layers.{layer}.block_sparse_moe.experts.{expert}.down_proj.weight", Role::kExpertDown},
};
constexpr std::span<const TensorName> kTensors[] = {kBackboneTensors, kGroupedQueryTensors,
                                                    kExperts};
constexpr FusedTensor kFused[] = {
    {"model.layers.{layer}.block_sparse_moe.input_linear.weight",
     {Role::kExpertGate, Role::kExpertUp},
     FusedRows::kHalves},
    {"model.layers.{layer}.block_sparse_moe.output_linear.weight",
     {Role::kExpertDown, Role::kExpertDown}},
};

Status ReadMultipliers(const JsonObject& json, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(config.embedding_multiplier,
                          ReadMultiplier(json, "embedding_multiplier", 1));
  NPUMOE_ASSIGN_OR_RETURN(config.residual_multiplier,
                          ReadMultiplier(json, "residual_multiplier", 1));
  NPUMOE_ASSIGN_OR_RETURN(config.logits_divisor, ReadMultiplier(json, "logits_scaling", 1));
  // The scale of q . k itself, not a factor of 1 / sqrt(head_dim).
  NPUMOE_ASSIGN_OR_RETURN(config.attention.scale, ReadMultiplier(json, "attention_multiplier", 1));
  return OkStatus();
}

Result<ModelConfig> ReadConfig(const JsonObject& json) {
  NPUMOE_RETURN_IF_ERROR(RefuseUnsupportedFields(json));
  NPUMOE_ASSIGN_OR_RETURN(const std::string positions,
                          json.String("position_embedding_type", "rope"));
  if (positions != "rope") {
    return UnsupportedField(json, "position_embedding_type", "\"rope\" only");
  }
  ModelConfig config;
  NPUMOE_RETURN_IF_ERROR(ReadBackbone(json, {.norm_eps = 1e-6}, config));
  NPUMOE_ASSIGN_OR_RETURN(config.attention, ReadAttention(json, config.hidden_size));
  NPUMOE_RETURN_IF_ERROR(ReadAttentionBias(json, false, config.attention));
  NPUMOE_RETURN_IF_ERROR(ReadMultipliers(json, config));
  NPUMOE_ASSIGN_OR_RETURN(config.rope, ReadRope(json, {.theta = 10'000}, config));
  NPUMOE_RETURN_IF_ERROR(ReadExperts(json, "intermediate_size", config));
  NPUMOE_RETURN_IF_ERROR(MakeAllLayersMoe(json, config));
  config.moe.rule = RoutingRule::kTopKSoftmax;
  return config;
}

}  // namespace

const ModelFamily kGraniteMoe = {"granitemoe", &ReadConfig,    kTensors,
                                 kFused,       kRotaryBuffers, PublishedExperts::kFused};

}  // namespace npumoe
