#include "model/gguf/hub_rope.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "model/config_fields.h"

namespace npumoe {
namespace {

using OrderedJson = nlohmann::ordered_json;

// `value` in the fewest significant digits with which `is_exact` holds; all digits otherwise.
double FewestDigits(double value, const std::function<bool(double)>& is_exact) {
  for (int digits = 0; digits < 17; ++digits) {
    const double rounded = OrderedJson::parse(fmt::format("{:.{}e}", value, digits));
    if (is_exact(rounded)) return rounded;
  }
  return value;
}

// The multiplier that makes the scale of q . k what it is (families/deepseek_v2.cc squares its
// magnitude).
double AllDimMultiplier(const YarnScaling& yarn, const AttentionConfig& attention) {
  const double root = std::sqrt(attention.head_dim);
  const double magnitude = std::sqrt(double{attention.scale} * root);
  const double multiplier = (magnitude - 1) / (0.1 * std::log(yarn.factor));
  return FewestDigits(multiplier, [&](double candidate) {
    const double m = YarnMagnitude(yarn.factor, candidate);
    return static_cast<float>(m * m / root) == attention.scale;
  });
}

OrderedJson YarnJson(const YarnScaling& yarn, const AttentionConfig& attention) {
  OrderedJson json = {
      {"type", "yarn"},
      {"rope_type", "yarn"},
      {"factor", yarn.factor},
      {"original_max_position_embeddings", static_cast<int64_t>(yarn.original_max_positions)},
      {"beta_fast", yarn.beta_fast},
      {"beta_slow", yarn.beta_slow}};
  if (!yarn.truncate) json["truncate"] = false;
  double usual = YarnMagnitude(yarn.factor, 1.0);
  if (attention.latent && attention.scale > 0 && yarn.factor > 1) {
    const double multiplier = AllDimMultiplier(yarn, attention);
    json["mscale"] = multiplier;
    json["mscale_all_dim"] = multiplier;
    usual = 1.0;
  }
  if (static_cast<float>(usual) != yarn.attention_factor) {
    json["attention_factor"] = ShortestDecimal(yarn.attention_factor);
  }
  return json;
}

OrderedJson LongRopeJson(const LongRopeScaling& rope) {
  return {{"type", "longrope"},
          {"rope_type", "longrope"},
          {"short_factor", rope.short_factors},
          {"long_factor", rope.long_factors},
          {"short_mscale", ShortestDecimal(rope.short_attention_factor)},
          {"long_mscale", ShortestDecimal(rope.long_attention_factor)},
          {"original_max_position_embeddings", rope.original_max_positions}};
}

}  // namespace

double ShortestDecimal(float value) {
  return FewestDigits(value,
                      [value](double candidate) { return static_cast<float>(candidate) == value; });
}

void AddHubRope(const ModelConfig& config, OrderedJson& json) {
  json["rope_theta"] = config.rope.theta;
  json["rope_scaling"] = nullptr;
  if (const auto* yarn = std::get_if<YarnScaling>(&config.rope.scaling)) {
    json["rope_scaling"] = YarnJson(*yarn, config.attention);
  }
  if (const auto* rope = std::get_if<LongRopeScaling>(&config.rope.scaling)) {
    json["rope_scaling"] = LongRopeJson(*rope);
  }
}

}  // namespace npumoe
