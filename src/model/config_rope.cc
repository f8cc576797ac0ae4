#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>

#include "model/config_fields.h"

namespace npumoe {
namespace {

constexpr double kMaxRopeTheta = 1e15;  // chosen: published models stay below 1e8
constexpr double kMaxRopeFactor = 1e6;  // chosen: published models stay below 100
// What a scaling object may say whatever its type; "type" is the older spelling of "rope_type".
constexpr std::string_view kCommonFields[] = {"rope_type", "type", "rope_theta",
                                              "partial_rotary_factor"};
constexpr std::string_view kYarnFields[] = {"factor",           "original_max_position_embeddings",
                                            "beta_fast",        "beta_slow",
                                            "mscale",           "mscale_all_dim",
                                            "attention_factor", "truncate"};
constexpr std::string_view kLongRopeFields[] = {
    "factor",          "original_max_position_embeddings",
    "short_factor",    "long_factor",
    "short_mscale",    "long_mscale",
    "attention_factor"};

bool Contains(std::span<const std::string_view> names, const std::string& name) {
  for (const std::string_view known : names) {
    if (known == name) return true;
  }
  return false;
}

// A field that is neither common nor in `known` could change the angles: refused by its name.
Status RefuseOtherFields(const JsonObject& scaling, std::span<const std::string_view> known,
                         const std::string& rope_type) {
  for (const auto& [field, value] : scaling.json().items()) {
    if (value.is_null() || Contains(kCommonFields, field) || Contains(known, field)) continue;
    return UnsupportedField(scaling, field, "no such field with rope_type \"" + rope_type + "\"");
  }
  NPUMOE_ASSIGN_OR_RETURN(const double rotary,
                          scaling.Number("partial_rotary_factor", 0.0, 1.0, 1.0));
  return rotary == 1.0 ? OkStatus() : UnsupportedField(scaling, "partial_rotary_factor", "1 only");
}

// The object that describes scaling, under whichever of its two names; none: plain positions.
Result<std::optional<JsonObject>> FindScaling(const JsonObject& json) {
  const bool hub_style = json.Has("rope_scaling");
  const bool newer_style = json.Has("rope_parameters");
  if (!hub_style && !newer_style) return std::optional<JsonObject>();
  if (hub_style && newer_style && json.json()["rope_scaling"] != json.json()["rope_parameters"]) {
    return json.FieldError("rope_scaling",
                           "contradicts rope_parameters; make them equal or drop one");
  }
  NPUMOE_ASSIGN_OR_RETURN(JsonObject scaling,
                          json.Object(newer_style ? "rope_parameters" : "rope_scaling"));
  return std::optional(std::move(scaling));
}

Result<std::string> ReadRopeType(const JsonObject& scaling) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string older, scaling.String("type", "default"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, scaling.String("rope_type", older));
  if (!scaling.Has("type") || older == type) return type;
  return scaling.FieldError("type", "contradicts rope_type \"" + type + "\"; drop one of them");
}

Result<double> ReadTheta(const JsonObject& json, const std::optional<JsonObject>& scaling,
                         double fallback) {
  NPUMOE_ASSIGN_OR_RETURN(const double outer,
                          json.Number("rope_theta", 1.0, kMaxRopeTheta, fallback));
  if (!scaling || !scaling->Has("rope_theta")) return outer;
  NPUMOE_ASSIGN_OR_RETURN(const double inner, scaling->Number("rope_theta", 1.0, kMaxRopeTheta));
  if (!json.Has("rope_theta") || inner == outer) return inner;
  return scaling->FieldError("rope_theta", "contradicts the file's own rope_theta " +
                                               Json(outer).dump() +
                                               "; make them equal or drop one");
}

// The context length of the training before the scaling: in the scaling object, beside it, or what
// the model has now.
Result<int64_t> ReadOriginalPositions(const JsonObject& json, const JsonObject& scaling,
                                      const ModelConfig& config) {
  const std::string key = "original_max_position_embeddings";
  NPUMOE_ASSIGN_OR_RETURN(const int64_t outer,
                          json.Int(key, 1, kMaxModelPositions, config.max_position_embeddings));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t inner, scaling.Int(key, 1, kMaxModelPositions, outer));
  if (!json.Has(key) || inner == outer) return inner;
  return scaling.FieldError(
      key, "contradicts the file's own " + key + ", which is " + std::to_string(outer));
}

// Absent and 0 both say that there is no such multiplier.
Result<double> ReadOptionalNumber(const JsonObject& json, const std::string& key) {
  return json.Number(key, 0.0, kMaxModelMultiplier, 0.0);
}

Result<double> ReadFactor(const JsonObject& scaling, double original, const ModelConfig& config) {
  if (scaling.Has("factor")) return scaling.Number("factor", 1.0, kMaxRopeFactor);
  return std::max(1.0, config.max_position_embeddings / original);
}

Result<YarnScaling> ReadYarn(const JsonObject& json, const JsonObject& scaling,
                             const ModelConfig& config) {
  NPUMOE_RETURN_IF_ERROR(RefuseOtherFields(scaling, kYarnFields, "yarn"));
  YarnScaling yarn;
  NPUMOE_ASSIGN_OR_RETURN(const int64_t original, ReadOriginalPositions(json, scaling, config));
  yarn.original_max_positions = static_cast<double>(original);
  NPUMOE_ASSIGN_OR_RETURN(yarn.factor, ReadFactor(scaling, yarn.original_max_positions, config));
  NPUMOE_ASSIGN_OR_RETURN(const double fast, ReadOptionalNumber(scaling, "beta_fast"));
  if (fast > 0) yarn.beta_fast = fast;
  NPUMOE_ASSIGN_OR_RETURN(const double slow, ReadOptionalNumber(scaling, "beta_slow"));
  if (slow > 0) yarn.beta_slow = slow;
  NPUMOE_ASSIGN_OR_RETURN(yarn.truncate, scaling.Bool("truncate", true));
  NPUMOE_ASSIGN_OR_RETURN(const double mscale, ReadOptionalNumber(scaling, "mscale"));
  NPUMOE_ASSIGN_OR_RETURN(const double all_dim, ReadOptionalNumber(scaling, "mscale_all_dim"));
  const double derived = mscale > 0 && all_dim > 0 ? YarnMagnitude(yarn.factor, mscale) /
                                                         YarnMagnitude(yarn.factor, all_dim)
                                                   : YarnMagnitude(yarn.factor, 1.0);
  NPUMOE_ASSIGN_OR_RETURN(yarn.attention_factor,
                          ReadMultiplier(scaling, "attention_factor", static_cast<float>(derived)));
  return yarn;
}

Result<std::vector<double>> ReadFactors(const JsonObject& scaling, const std::string& key,
                                        int count) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, scaling.Array(key));
  std::vector<double> factors;
  for (const Json& item : *list) {
    const double factor = item.is_number() ? item.get<double>() : 0.0;
    if (factor <= 0 || factor > kMaxRopeFactor) {
      return scaling.FieldError(key, "its numbers must be above 0 and at most 1e6");
    }
    factors.push_back(factor);
  }
  if (factors.size() == static_cast<size_t>(count)) return factors;
  return scaling.FieldError(
      key, "a number for each of " + std::to_string(count) + " rotary frequencies is needed");
}

// Where the file has no attention factors of its own they follow from how far the context grew.
Result<float> ReadLongRopeMagnitude(const JsonObject& scaling, const std::string& key,
                                    double original, const ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(const double factor, ReadFactor(scaling, original, config));
  const double derived =
      factor <= 1 || original <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
  NPUMOE_ASSIGN_OR_RETURN(const float general,
                          ReadMultiplier(scaling, "attention_factor", static_cast<float>(derived)));
  return ReadMultiplier(scaling, key, general);
}

Result<LongRopeScaling> ReadLongRope(const JsonObject& json, const JsonObject& scaling,
                                     const ModelConfig& config) {
  NPUMOE_RETURN_IF_ERROR(RefuseOtherFields(scaling, kLongRopeFields, "longrope"));
  LongRopeScaling rope;
  NPUMOE_ASSIGN_OR_RETURN(rope.original_max_positions,
                          ReadOriginalPositions(json, scaling, config));
  const int count = config.attention.head_dim / 2;
  NPUMOE_ASSIGN_OR_RETURN(rope.short_factors, ReadFactors(scaling, "short_factor", count));
  NPUMOE_ASSIGN_OR_RETURN(rope.long_factors, ReadFactors(scaling, "long_factor", count));
  const auto original = static_cast<double>(rope.original_max_positions);
  NPUMOE_ASSIGN_OR_RETURN(rope.short_attention_factor,
                          ReadLongRopeMagnitude(scaling, "short_mscale", original, config));
  NPUMOE_ASSIGN_OR_RETURN(rope.long_attention_factor,
                          ReadLongRopeMagnitude(scaling, "long_mscale", original, config));
  return rope;
}

}  // namespace

double YarnMagnitude(double factor, double multiplier) {
  return factor <= 1 ? 1.0 : 0.1 * multiplier * std::log(factor) + 1.0;
}

Result<RopeConfig> ReadRope(const JsonObject& json, const RopeDefaults& defaults,
                            const ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(const std::optional<JsonObject> scaling, FindScaling(json));
  RopeConfig rope;
  NPUMOE_ASSIGN_OR_RETURN(rope.theta, ReadTheta(json, scaling, defaults.theta));
  if (!scaling) return rope;
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, ReadRopeType(*scaling));
  if (type == "yarn") {
    if (rope.theta <= 1) return json.FieldError("rope_theta", "YaRN needs a base above 1");
    NPUMOE_ASSIGN_OR_RETURN(rope.scaling, ReadYarn(json, *scaling, config));
    return rope;
  }
  if (type == "longrope" && defaults.long_rope) {
    NPUMOE_ASSIGN_OR_RETURN(rope.scaling, ReadLongRope(json, *scaling, config));
    return rope;
  }
  if (type != "default") {
    return UnsupportedField(
        *scaling, scaling->Has("rope_type") ? "rope_type" : "type",
        defaults.long_rope ? "\"default\", \"yarn\" and \"longrope\"" : "\"default\" and \"yarn\"");
  }
  NPUMOE_RETURN_IF_ERROR(RefuseOtherFields(*scaling, {}, "default"));
  return rope;
}

}  // namespace npumoe
