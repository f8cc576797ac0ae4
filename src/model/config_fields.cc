#include "model/config_fields.h"

#include <nlohmann/json.hpp>

namespace npumoe {
namespace {

constexpr double kDefaultRopeTheta = 10000.0;  // of transformers, where the field is absent
constexpr double kMaxRopeTheta = 1e15;         // chosen: published models stay below 1e8

Status UnsupportedField(const JsonObject& json, const std::string& key, const std::string& allowed,
                        const std::string& found) {
  return Unsupported(json.name() + ": field '" + key + "': this build supports " + allowed +
                     ", found " + found + "; use a model without it");
}

std::string Shown(const Json& value) {
  constexpr size_t kMaxShownBytes = 100;  // chosen: one line of a terminal
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kMaxShownBytes) text = text.substr(0, kMaxShownBytes) + "...";
  return text;
}

Result<double> ReadTheta(const JsonObject& json, double fallback) {
  return json.Number("rope_theta", 1.0, kMaxRopeTheta, fallback);
}

// `scaling` is the object under `key`. Only {"rope_type": "default"} and what belongs to it pass;
// "type" is the older spelling of "rope_type".
Status CheckPlainRotary(const JsonObject& config, const std::string& key,
                        const JsonObject& scaling) {
  for (const auto& [field, value] : scaling.json().items()) {
    if (value.is_null() || field == "rope_theta") continue;
    const bool plain = (field == "rope_type" || field == "type") ? value == "default"
                       : field == "partial_rotary_factor"        ? value == 1.0
                                                                 : false;
    if (plain) continue;
    return UnsupportedField(config, key, "rope_type \"default\" over the whole head only",
                            Shown(scaling.json()));
  }
  return OkStatus();
}

}  // namespace

Result<int> ReadDimension(const JsonObject& json, const std::string& key, int max) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t value, json.Int(key, 1, max));
  return static_cast<int>(value);
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

Status ReadBackbone(const JsonObject& json, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(config.hidden_size, ReadDimension(json, "hidden_size", kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(config.num_layers,
                          ReadDimension(json, "num_hidden_layers", kMaxModelLayers));
  NPUMOE_ASSIGN_OR_RETURN(config.vocab_size,
                          ReadDimension(json, "vocab_size", kMaxModelVocabulary));
  NPUMOE_ASSIGN_OR_RETURN(config.max_position_embeddings,
                          ReadDimension(json, "max_position_embeddings", kMaxModelPositions));
  NPUMOE_ASSIGN_OR_RETURN(const double eps, json.Number("rms_norm_eps", 0.0, 1.0, 1e-6));
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

Result<RopeConfig> ReadPlainRope(const JsonObject& json) {
  for (const std::string key : {"rope_scaling", "rope_parameters"}) {
    if (!json.Has(key)) continue;
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject scaling, json.Object(key));
    NPUMOE_RETURN_IF_ERROR(CheckPlainRotary(json, key, scaling));
  }
  NPUMOE_ASSIGN_OR_RETURN(const double factor, json.Number("partial_rotary_factor", 0.0, 1.0, 1.0));
  if (factor != 1.0) {
    return UnsupportedField(json, "partial_rotary_factor", "1 only",
                            Shown(json.json()["partial_rotary_factor"]));
  }
  RopeConfig rope;
  NPUMOE_ASSIGN_OR_RETURN(rope.theta, ReadTheta(json, kDefaultRopeTheta));
  if (!json.Has("rope_parameters")) return rope;
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject parameters, json.Object("rope_parameters"));
  NPUMOE_ASSIGN_OR_RETURN(const double inner, ReadTheta(parameters, rope.theta));
  if (json.Has("rope_theta") && inner != rope.theta) {
    return json.FieldError("rope_theta",
                           "contradicts rope_parameters.rope_theta; make them equal or drop one");
  }
  rope.theta = inner;
  return rope;
}

Status RefuseQuantization(const JsonObject& json) {
  for (const std::string key : {"quantization_config", "compression_config"}) {
    if (!json.Has(key)) continue;
    const Json& value = json.json()[key];
    const bool names_method = value.is_object() && value.contains("quant_method");
    return UnsupportedField(
        json, key, "F32, F16 and BF16 weights only",
        names_method ? "quant_method " + Shown(value["quant_method"]) : Shown(value));
  }
  return OkStatus();
}

Status RefuseActivationOtherThanSilu(const JsonObject& json) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string activation, json.String("hidden_act", "silu"));
  if (activation == "silu") return OkStatus();
  return UnsupportedField(json, "hidden_act", "\"silu\" only", "\"" + activation + "\"");
}

Status RefuseSlidingWindow(const JsonObject& json) {
  NPUMOE_ASSIGN_OR_RETURN(const bool used, json.Bool("use_sliding_window", false));
  if (used && json.Has("sliding_window")) {
    return UnsupportedField(json, "use_sliding_window", "attention over the whole context only",
                            "true with sliding_window " + Shown(json.json()["sliding_window"]));
  }
  if (!json.Has("layer_types")) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const Json* types, json.Array("layer_types"));
  for (const Json& type : *types) {
    if (type == "full_attention") continue;
    return UnsupportedField(json, "layer_types", "\"full_attention\" only", Shown(type));
  }
  return OkStatus();
}

}  // namespace npumoe
