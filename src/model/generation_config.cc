#include "model/generation_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json.h"

namespace npumoe {
namespace {

constexpr double kMaxTemperature = 100.0;       // chosen: far beyond any use
constexpr int64_t kMaxTopK = int64_t{1} << 30;  // chosen

// `eos_token_id`: a number, a list of them, or nothing.
Result<std::vector<int32_t>> ReadEndTokens(const JsonObject& json, int vocab_size) {
  constexpr const char* kKey = "eos_token_id";
  std::vector<int64_t> ids;
  if (json.Has(kKey) && json.json()[kKey].is_array()) {
    NPUMOE_ASSIGN_OR_RETURN(ids, json.Ints(kKey, 0, vocab_size - 1));
  } else if (json.Has(kKey)) {
    NPUMOE_ASSIGN_OR_RETURN(const int64_t id, json.Int(kKey, 0, vocab_size - 1));
    ids.push_back(id);
  }
  std::vector<int32_t> tokens;
  for (const int64_t id : ids) {
    const auto token = static_cast<int32_t>(id);
    if (std::ranges::find(tokens, token) == tokens.end()) tokens.push_back(token);
  }
  return tokens;
}

Status ReadFraction(const JsonObject& json, const std::string& key, double max,
                    std::optional<float>& field) {
  if (!json.Has(key)) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const double value, json.Number(key, 0.0, max));
  field = static_cast<float>(value);
  return OkStatus();
}

// Present with another value than the one that means "off".
std::vector<std::string> UnsupportedFields(const JsonObject& json) {
  static constexpr std::pair<const char*, double> kOff[] = {
      {"repetition_penalty", 1}, {"no_repeat_ngram_size", 0}, {"num_beams", 1},
      {"typical_p", 1},          {"epsilon_cutoff", 0},       {"eta_cutoff", 0},
      {"penalty_alpha", 0},      {"min_length", 0},           {"min_new_tokens", 0}};
  std::vector<std::string> fields;
  for (const auto& [key, off] : kOff) {
    if (!json.Has(key)) continue;
    const Json& value = json.json()[key];
    if (!value.is_number() || value.get<double>() != off) fields.emplace_back(key);
  }
  return fields;
}

Result<GenerationConfig> ReadFields(const JsonObject& json, int vocab_size) {
  GenerationConfig config;
  NPUMOE_ASSIGN_OR_RETURN(config.end_tokens, ReadEndTokens(json, vocab_size));
  NPUMOE_RETURN_IF_ERROR(ReadFraction(json, "temperature", kMaxTemperature, config.temperature));
  NPUMOE_RETURN_IF_ERROR(ReadFraction(json, "top_p", 1.0, config.top_p));
  NPUMOE_RETURN_IF_ERROR(ReadFraction(json, "min_p", 1.0, config.min_p));
  if (json.Has("top_k")) {
    NPUMOE_ASSIGN_OR_RETURN(const int64_t top_k, json.Int("top_k", 0, kMaxTopK));
    config.top_k = static_cast<int>(top_k);
  }
  if (json.Has("do_sample")) {
    NPUMOE_ASSIGN_OR_RETURN(config.do_sample, json.Bool("do_sample"));
  }
  config.unsupported = UnsupportedFields(json);
  return config;
}

}  // namespace

Result<GenerationConfig> ParseGenerationConfig(const Json& json, const std::string& name,
                                               int vocab_size) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, JsonObject::From(json, name));
  return ReadFields(object, vocab_size);
}

Result<GenerationConfig> ReadGenerationConfig(const std::filesystem::path& folder,
                                              const Json& config_json, int vocab_size) {
  GenerationConfig config;
  const std::filesystem::path path = folder / "generation_config.json";
  std::error_code ignored;  // a file that cannot be examined is opened below and says why
  if (std::filesystem::exists(path, ignored)) {
    NPUMOE_ASSIGN_OR_RETURN(const Json json, ReadJsonFile(path));
    NPUMOE_ASSIGN_OR_RETURN(config, ParseGenerationConfig(json, path.string(), vocab_size));
  }
  if (!config.end_tokens.empty()) return config;
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject model_json,
                          JsonObject::From(config_json, (folder / "config.json").string()));
  NPUMOE_ASSIGN_OR_RETURN(config.end_tokens, ReadEndTokens(model_json, vocab_size));
  return config;
}

}  // namespace npumoe
