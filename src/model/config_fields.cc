#include "model/config_fields.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace npumoe {
namespace {

constexpr size_t kMaxShownBytes = 100;  // chosen: one line of a terminal

Status RefuseActivationOtherThanSilu(const JsonObject& json) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string activation, json.String("hidden_act", "silu"));
  if (activation == "silu") return OkStatus();
  return UnsupportedField(json, "hidden_act", "\"silu\" only");
}

Status RefuseQuantization(const JsonObject& json, std::string_view allowed_method) {
  for (const std::string key : {"quantization_config", "compression_config"}) {
    if (!json.Has(key)) continue;
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject quantization, json.Object(key));
    NPUMOE_ASSIGN_OR_RETURN(const std::string method, quantization.String("quant_method", ""));
    if (!method.empty() && method == allowed_method) continue;
    return UnsupportedField(json, key,
                            allowed_method.empty()
                                ? "F32, F16 and BF16 weights only"
                                : "quant_method " + std::string(allowed_method) + " only");
  }
  return OkStatus();
}

}  // namespace

Status UnsupportedField(const JsonObject& json, const std::string& key,
                        const std::string& allowed) {
  return UnsupportedField(json, key, allowed, JsonExcerpt(json.json().value(key, Json())));
}

Status UnsupportedField(const JsonObject& json, const std::string& key, const std::string& allowed,
                        const std::string& found) {
  return Unsupported(json.name() + ": field '" + key + "': this build supports " + allowed +
                     ", found " + found + "; use a model without it");
}

Result<int> ReadDimension(const JsonObject& json, const std::string& key, int max) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t value, json.Int(key, 1, max));
  return static_cast<int>(value);
}

Result<int> ReadDimension(const JsonObject& json, const std::string& key, int max, int fallback) {
  return json.Has(key) ? ReadDimension(json, key, max) : Result<int>(fallback);
}

Result<float> ReadMultiplier(const JsonObject& json, const std::string& key, float fallback) {
  constexpr double kMinMultiplier = 1e-6;  // chosen: below it nothing is left of a 16-bit number
  NPUMOE_ASSIGN_OR_RETURN(const double value,
                          json.Number(key, kMinMultiplier, kMaxModelMultiplier, double{fallback}));
  return static_cast<float>(value);
}

Status ReadBackbone(const JsonObject& json, const BackboneDefaults& defaults, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(config.hidden_size, ReadDimension(json, "hidden_size", kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(config.num_layers,
                          ReadDimension(json, "num_hidden_layers", kMaxModelLayers));
  NPUMOE_ASSIGN_OR_RETURN(config.vocab_size,
                          ReadDimension(json, "vocab_size", kMaxModelVocabulary));
  NPUMOE_ASSIGN_OR_RETURN(config.max_position_embeddings,
                          ReadDimension(json, "max_position_embeddings", kMaxModelPositions));
  NPUMOE_ASSIGN_OR_RETURN(const double eps,
                          json.Number("rms_norm_eps", 0.0, 1.0, defaults.norm_eps));
  config.norm_eps = static_cast<float>(eps);
  NPUMOE_ASSIGN_OR_RETURN(config.tie_word_embeddings, json.Bool("tie_word_embeddings", false));
  return OkStatus();
}

Result<AttentionConfig> ReadAttention(const JsonObject& json, int hidden_size) {
  AttentionConfig attention;
  NPUMOE_ASSIGN_OR_RETURN(attention.num_heads,
                          ReadDimension(json, "num_attention_heads", kMaxModelHeads));
  const int heads = attention.num_heads;
  NPUMOE_ASSIGN_OR_RETURN(const int64_t kv_heads, json.Int("num_key_value_heads", 1, heads, heads));
  attention.num_kv_heads = static_cast<int>(kv_heads);
  if (heads % attention.num_kv_heads != 0) {
    return json.FieldError("num_key_value_heads",
                           "must divide num_attention_heads, which is " + std::to_string(heads));
  }
  if (!json.Has("head_dim") && hidden_size % heads != 0) {
    return json.FieldError("num_attention_heads", "without head_dim it must divide hidden_size " +
                                                      std::to_string(hidden_size));
  }
  NPUMOE_ASSIGN_OR_RETURN(const int64_t head_dim,
                          json.Int("head_dim", 2, kMaxModelWidth / heads, hidden_size / heads));
  attention.head_dim = static_cast<int>(head_dim);
  if (head_dim % 2 != 0) {
    return json.FieldError(
        "head_dim", "rotary positions need an even head size, it is " + std::to_string(head_dim));
  }
  return attention;
}

Status ReadAttentionBias(const JsonObject& json, bool fallback, AttentionConfig& attention) {
  NPUMOE_ASSIGN_OR_RETURN(attention.projection_bias, json.Bool("attention_bias", fallback));
  attention.output_bias = attention.projection_bias;
  return OkStatus();
}

Result<std::vector<std::string>> ReadLayerTypes(const JsonObject& json, int num_layers) {
  const std::string key = "layer_types";
  std::vector<std::string> types;
  if (!json.Has(key)) return types;
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, json.Array(key));
  for (const Json& item : *list) {
    if (!item.is_string()) return json.FieldError(key, "a list of names is needed");
    types.push_back(item.get<std::string>());
  }
  if (types.size() == static_cast<size_t>(num_layers)) return types;
  return json.FieldError(
      key, "an entry for each of " + std::to_string(num_layers) + " layers is needed");
}

Result<int64_t> ReadWindow(const JsonObject& json) {
  return json.Int("sliding_window", 1, kMaxModelPositions, 0);
}

Result<int> ReadExpertCount(const JsonObject& json) {
  const bool old_name = json.Has("num_experts");
  const bool newer_name = json.Has("num_local_experts");
  const std::string key = newer_name && !old_name ? "num_local_experts" : "num_experts";
  NPUMOE_ASSIGN_OR_RETURN(const int64_t count, json.Int(key, 0, kMaxModelExperts));
  if (old_name && newer_name) {
    NPUMOE_ASSIGN_OR_RETURN(const int64_t other,
                            json.Int("num_local_experts", 0, kMaxModelExperts));
    if (other != count) {
      return json.FieldError("num_local_experts",
                             "must equal num_experts, which is " + std::to_string(count));
    }
  }
  return static_cast<int>(count);
}

Status ReadExpertsPerToken(const JsonObject& json, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(config.moe.experts_per_token,
                          ReadDimension(json, "num_experts_per_tok", kMaxModelExperts));
  if (config.moe.experts_per_token <= config.moe.num_experts) return OkStatus();
  return json.FieldError("num_experts_per_tok", "must not exceed the number of experts, " +
                                                    std::to_string(config.moe.num_experts));
}

Status ReadExperts(const JsonObject& json, const std::string& width_key, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(config.moe.num_experts, ReadExpertCount(json));
  if (config.moe.num_experts == 0) return OkStatus();
  NPUMOE_RETURN_IF_ERROR(ReadExpertsPerToken(json, config));
  NPUMOE_ASSIGN_OR_RETURN(config.moe.expert_intermediate_size,
                          ReadDimension(json, width_key, kMaxModelWidth));
  return OkStatus();
}

// A layer l is MoE unless it is listed in mlp_only_layers, when (l + 1) % decoder_sparse_step is
// 0 and there are experts at all.
Status ReadSparseLayers(const JsonObject& json, ModelConfig& config) {
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
  if (std::ranges::find(config.is_moe_layer, false) == config.is_moe_layer.end()) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(config.dense_intermediate_size,
                          ReadDimension(json, "intermediate_size", kMaxModelWidth));
  return OkStatus();
}

Status MakeAllLayersMoe(const JsonObject& json, ModelConfig& config) {
  if (config.moe.num_experts == 0) {
    return json.FieldError(json.Has("num_experts") ? "num_experts" : "num_local_experts",
                           "a model of this type has at least one expert");
  }
  config.is_moe_layer.assign(static_cast<size_t>(config.num_layers), true);
  return OkStatus();
}

Status RefuseUnsupportedFields(const JsonObject& json, std::string_view allowed_quant_method) {
  NPUMOE_RETURN_IF_ERROR(RefuseQuantization(json, allowed_quant_method));
  NPUMOE_RETURN_IF_ERROR(RefuseActivationOtherThanSilu(json));
  for (const std::string key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (json.Has(key)) return UnsupportedField(json, key, "null only");
  }
  NPUMOE_ASSIGN_OR_RETURN(const bool mlp_bias, json.Bool("mlp_bias", false));
  if (mlp_bias) return UnsupportedField(json, "mlp_bias", "false only");
  NPUMOE_ASSIGN_OR_RETURN(const double rotary, json.Number("partial_rotary_factor", 0.0, 1.0, 1.0));
  if (rotary != 1.0) return UnsupportedField(json, "partial_rotary_factor", "1 only");
  return OkStatus();
}

Status RefuseSlidingWindow(const JsonObject& json, int num_layers) {
  NPUMOE_ASSIGN_OR_RETURN(const bool used, json.Bool("use_sliding_window", false));
  if (used && json.Has("sliding_window")) {
    return UnsupportedField(
        json, "use_sliding_window", "attention over the whole context only in this family",
        "true with sliding_window " + JsonExcerpt(json.json()["sliding_window"], kMaxShownBytes));
  }
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<std::string> types, ReadLayerTypes(json, num_layers));
  for (const std::string& type : types) {
    if (type == "full_attention") continue;
    return UnsupportedField(json, "layer_types", "\"full_attention\" only", type);
  }
  return OkStatus();
}

}  // namespace npumoe
