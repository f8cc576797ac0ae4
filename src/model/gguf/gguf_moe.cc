#include "model/gguf/gguf_moe.h"

#include <algorithm>

#include "model/config_fields.h"

namespace npumoe {
namespace {

constexpr const char* kJitterKey = "npumoe.expert_sparse_mixer_jitter";
constexpr const char* kLimitKey = "npumoe.expert_activation_limit";
constexpr const char* kMoeLayersKey = "npumoe.moe_layers";
constexpr double kUsualJitter = 0.01;  // Phi-MoE's router_jitter_noise
constexpr double kUsualLimit = 7.0;    // gpt-oss' swiglu_limit
// expert_gating_func: 0 says nothing, 1 is softmax, 2 sigmoid, 3 softmax over the chosen.
constexpr int kSoftmax = 1;
constexpr int kSoftmaxOfChosen = 3;

bool NormalizesByChoice(RoutingRule rule) {
  return rule == RoutingRule::kSoftmaxTopK || rule == RoutingRule::kGroupLimited;
}

Status ReadExpertSizes(const ArchitectureKeys& keys, MoeConfig& moe) {
  NPUMOE_ASSIGN_OR_RETURN(moe.experts_per_token,
                          keys.Dimension("expert_used_count", kMaxModelExperts));
  if (moe.experts_per_token > moe.num_experts) {
    return keys.KeyError("expert_used_count",
                         "it must not exceed expert_count, " + std::to_string(moe.num_experts));
  }
  const bool own_width = keys.Has("expert_feed_forward_length");
  const bool may_share = !keys.architecture().has_expert_width;
  NPUMOE_ASSIGN_OR_RETURN(
      moe.expert_intermediate_size,
      keys.Dimension(own_width || !may_share ? "expert_feed_forward_length" : "feed_forward_length",
                     kMaxModelWidth));
  return OkStatus();
}

// Files of deepseek2 count shared experts as wide as the others; several are one wider one.
Status ReadSharedExpert(const ArchitectureKeys& keys, MoeConfig& moe) {
  NPUMOE_ASSIGN_OR_RETURN(
      const int count,
      keys.Dimension("expert_shared_count", kMaxModelWidth / moe.expert_intermediate_size, 0));
  const int counted = count * moe.expert_intermediate_size;
  NPUMOE_ASSIGN_OR_RETURN(
      moe.shared_intermediate_size,
      keys.Dimension("expert_shared_feed_forward_length", kMaxModelWidth, counted));
  if (count > 0 && moe.shared_intermediate_size != counted) {
    return keys.KeyError("expert_shared_feed_forward_length",
                         "expert_shared_count makes it " + std::to_string(counted));
  }
  moe.shared_gate = keys.architecture().name == "qwen2moe";
  if (moe.shared_gate && moe.shared_intermediate_size == 0) {  // as older files have it
    NPUMOE_ASSIGN_OR_RETURN(moe.shared_intermediate_size,
                            keys.Dimension("feed_forward_length", kMaxModelWidth));
  }
  return OkStatus();
}

Status ReadGroups(const ArchitectureKeys& keys, MoeConfig& moe) {
  NPUMOE_ASSIGN_OR_RETURN(const int groups,
                          keys.Dimension("expert_group_count", moe.num_experts, 1));
  NPUMOE_ASSIGN_OR_RETURN(const int used,
                          keys.Dimension("expert_group_used_count", moe.num_experts, 1));
  if (groups <= 1) return OkStatus();
  if (moe.rule != RoutingRule::kSoftmaxTopK || moe.num_experts % groups != 0) {
    return keys.KeyError("expert_group_count", "it must divide expert_count, " +
                                                   std::to_string(moe.num_experts) +
                                                   ", in an architecture with groups");
  }
  if (used < 1 || used > groups || moe.num_experts / groups * used < moe.experts_per_token) {
    return keys.KeyError(
        "expert_group_used_count",
        "enough groups for expert_used_count are needed, and at most " + std::to_string(groups));
  }
  moe.rule = RoutingRule::kGroupLimited;
  moe.num_groups = groups;
  moe.groups_per_token = used;
  return OkStatus();
}

Status CheckGatingFunction(const ArchitectureKeys& keys, RoutingRule rule) {
  NPUMOE_ASSIGN_OR_RETURN(const int gating, keys.Dimension("expert_gating_func", 255, 0));
  const bool of_chosen = rule == RoutingRule::kTopKSoftmax && gating == kSoftmaxOfChosen;
  if (gating == 0 || gating == kSoftmax || of_chosen) return OkStatus();
  return keys.KeyError("expert_gating_func", "this build supports softmax (1) only");
}

Status ReadRouting(const ArchitectureKeys& keys, MoeConfig& moe) {
  const GgufArchitecture& architecture = keys.architecture();
  moe.rule = architecture.rule;
  NPUMOE_RETURN_IF_ERROR(CheckGatingFunction(keys, moe.rule));
  if (NormalizesByChoice(moe.rule)) {
    NPUMOE_ASSIGN_OR_RETURN(
        moe.normalize_top_k,
        keys.metadata().Bool(keys.Key("expert_weights_norm"), architecture.normalizes_top_k));
  } else {
    // A softmax over the chosen experts sums to 1 by itself, SparseMixer's weights never do.
    const bool fixed = moe.rule == RoutingRule::kTopKSoftmax;
    NPUMOE_ASSIGN_OR_RETURN(const bool norm,
                            keys.metadata().Bool(keys.Key("expert_weights_norm"), fixed));
    if (norm != fixed) {
      return keys.KeyError(
          "expert_weights_norm",
          std::string("the architecture's routing makes it ") + (fixed ? "true" : "false"));
    }
  }
  NPUMOE_ASSIGN_OR_RETURN(moe.weight_scale,
                          keys.Float("expert_weights_scale", 0.0, kMaxModelMultiplier, 1.0f));
  if (moe.weight_scale == 0) moe.weight_scale = 1;  // engines take 0 for "none"
  if (moe.rule == RoutingRule::kSparseMixer) {
    if (moe.experts_per_token != 2) {
      return keys.KeyError("expert_used_count", "SparseMixer routing chooses 2 experts");
    }
    NPUMOE_ASSIGN_OR_RETURN(const double jitter,
                            keys.metadata().Number(kJitterKey, 1e-6, 1e6, kUsualJitter));
    moe.sparse_mixer_jitter = static_cast<float>(jitter);
  }
  return ReadGroups(keys, moe);
}

Status ReadActivation(const ArchitectureKeys& keys, MoeConfig& moe) {
  const GgufArchitecture& architecture = keys.architecture();
  moe.activation = architecture.activation;
  moe.router_bias = architecture.has_sinks_and_expert_biases;
  moe.expert_bias = architecture.has_sinks_and_expert_biases;
  if (moe.activation != ExpertActivation::kClampedSwiGlu) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const double limit,
                          keys.metadata().Number(kLimitKey, 1e-6, 1e6, kUsualLimit));
  moe.activation_limit = static_cast<float>(limit);
  return OkStatus();
}

// Dense layers come first, unless our own key says otherwise.
Status ReadLayerKinds(const ArchitectureKeys& keys, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(const int leading,
                          keys.Dimension("leading_dense_block_count", config.num_layers, 0));
  NPUMOE_ASSIGN_OR_RETURN(config.is_moe_layer, keys.metadata().Bools(kMoeLayersKey));
  if (config.is_moe_layer.empty()) {
    for (int layer = 0; layer < config.num_layers; ++layer) {
      config.is_moe_layer.push_back(config.moe.num_experts > 0 && layer >= leading);
    }
  }
  const auto is_moe = [](bool moe) { return moe; };
  const auto first_moe = std::ranges::find_if(config.is_moe_layer, is_moe);
  if (config.is_moe_layer.size() != static_cast<size_t>(config.num_layers)) {
    return keys.metadata().KeyError(
        kMoeLayersKey,
        "one for each of " + std::to_string(config.num_layers) + " layers is needed");
  }
  if (first_moe != config.is_moe_layer.end() &&
      (config.moe.num_experts == 0 || first_moe - config.is_moe_layer.begin() < leading)) {
    return keys.metadata().KeyError(kMoeLayersKey,
                                    "it contradicts expert_count or leading_dense_block_count");
  }
  if (std::ranges::all_of(config.is_moe_layer, is_moe)) return OkStatus();
  if (!keys.architecture().has_expert_width) {
    return keys.KeyError("expert_count",
                         "this build supports this architecture with experts in "
                         "every layer only");
  }
  NPUMOE_ASSIGN_OR_RETURN(config.dense_intermediate_size,
                          keys.Dimension("feed_forward_length", kMaxModelWidth));
  return OkStatus();
}

void AddRouting(const ModelConfig& config, ArchitectureKeyWriter& writer) {
  const MoeConfig& moe = config.moe;
  const bool is_deepseek = writer.architecture().name == "deepseek2";
  if (is_deepseek) writer.Add("expert_gating_func", kSoftmax);
  if (is_deepseek || moe.weight_scale != 1) writer.Add("expert_weights_scale", moe.weight_scale);
  if (NormalizesByChoice(moe.rule) &&
      (is_deepseek || moe.normalize_top_k != writer.architecture().normalizes_top_k)) {
    writer.Add("expert_weights_norm", moe.normalize_top_k);
  }
  if (moe.rule == RoutingRule::kGroupLimited) {
    writer.Add("expert_group_count", moe.num_groups);
    writer.Add("expert_group_used_count", moe.groups_per_token);
  }
  if (moe.rule == RoutingRule::kSparseMixer) {
    writer.builder().AddF32(kJitterKey, moe.sparse_mixer_jitter);
  }
  if (moe.activation == ExpertActivation::kClampedSwiGlu) {
    writer.builder().AddF32(kLimitKey, moe.activation_limit);
  }
}

void AddSharedExpert(const MoeConfig& moe, ArchitectureKeyWriter& writer) {
  const int width = std::max(1, moe.expert_intermediate_size);
  const bool counts = writer.architecture().name == "deepseek2";
  if (counts) writer.Add("expert_shared_count", moe.shared_intermediate_size / width);
  if (moe.has_shared_expert() && !counts) {
    writer.Add("expert_shared_feed_forward_length", moe.shared_intermediate_size);
  }
}

void AddLayerKinds(const ModelConfig& config, ArchitectureKeyWriter& writer) {
  const auto& kinds = config.is_moe_layer;
  const auto first_moe = std::ranges::find(kinds, true);
  const bool dense_only_first = std::find(first_moe, kinds.end(), false) == kinds.end();
  const bool has_key = writer.architecture().name == "deepseek2";
  if (has_key) {
    writer.Add("leading_dense_block_count", static_cast<int>(first_moe - kinds.begin()));
  }
  const bool all_moe = first_moe == kinds.begin() && dense_only_first;
  if (!all_moe && !(has_key && dense_only_first)) writer.builder().AddBools(kMoeLayersKey, kinds);
}

}  // namespace

Status ReadGgufMoe(const ArchitectureKeys& keys, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(config.moe.num_experts,
                          keys.Dimension("expert_count", kMaxModelExperts, 0));
  if (config.moe.num_experts > 0) {
    NPUMOE_RETURN_IF_ERROR(ReadExpertSizes(keys, config.moe));
    NPUMOE_RETURN_IF_ERROR(ReadSharedExpert(keys, config.moe));
    NPUMOE_RETURN_IF_ERROR(ReadRouting(keys, config.moe));
    NPUMOE_RETURN_IF_ERROR(ReadActivation(keys, config.moe));
  }
  return ReadLayerKinds(keys, config);
}

void AddGgufMoe(const ModelConfig& config, ArchitectureKeyWriter& writer) {
  const MoeConfig& moe = config.moe;
  const bool own_width = writer.architecture().has_expert_width;
  const bool has_dense = config.dense_intermediate_size > 0;
  writer.Add("feed_forward_length", own_width && has_dense ? config.dense_intermediate_size
                                                           : moe.expert_intermediate_size);
  writer.Add("expert_count", moe.num_experts);
  if (moe.num_experts > 0) {
    writer.Add("expert_used_count", moe.experts_per_token);
    if (own_width) writer.Add("expert_feed_forward_length", moe.expert_intermediate_size);
    AddSharedExpert(moe, writer);
    AddRouting(config, writer);
  }
  AddLayerKinds(config, writer);
}

}  // namespace npumoe
