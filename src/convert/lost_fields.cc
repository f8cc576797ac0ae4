#include "convert/lost_fields.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json.h"
#include "model/gguf/architecture.h"
#include "model/gguf/gguf_model.h"
#include "model/gguf/hub_config.h"

namespace npumoe {
namespace {

// Said by the tensors, by the tokenizer or by generation_config.json.
constexpr std::array<std::string_view, 5> kConfigElsewhere = {
    "dtype", "eos_token_id", "quantization_config", "rope_parameters", "torch_dtype"};
constexpr std::array<std::string_view, 2> kConfigInTokenizer = {"bos_token_id", "pad_token_id"};
// tokenizer.json has the tokens with all their flags.
constexpr std::array<std::string_view, 8> kTokenizerKept = {
    "add_bos_token", "add_eos_token", "added_tokens_decoder",
    "bos_token",     "chat_template", "eos_token",
    "pad_token",     "unk_token"};
// What a folder made of a GGUF says.
constexpr std::string_view kUsualClass = "PreTrainedTokenizerFast";
// Of the file, not of the model, or said by the folder's name.
constexpr std::array<std::string_view, 5> kKeysOfTheFile = {
    "general.alignment", "general.architecture", "general.file_type", "general.name",
    "general.quantization_version"};

template <size_t kCount>
bool Contains(const std::array<std::string_view, kCount>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::vector<std::string> LostOfConfig(const ConvertSource& source) {
  const Result<std::string> kept = HubConfigOf(source.config, {});
  if (!kept.ok()) return {};
  const auto json = Json::parse(*kept, nullptr, false);
  std::vector<std::string> lost;
  for (const std::string& field : source.config_fields) {
    const bool elsewhere = Contains(kConfigElsewhere, field) ||
                           (source.tokenizer && Contains(kConfigInTokenizer, field));
    if (!elsewhere && !json.contains(field)) lost.push_back(field);
  }
  return lost;
}

std::vector<std::string> LostOfTokenizerConfig(const ConvertSource& source) {
  const auto json = Json::parse(source.tokenizer_config_json, nullptr, false);
  std::vector<std::string> lost;
  if (!json.is_object()) return lost;
  for (const auto& [field, value] : json.items()) {
    const bool usual = field == "tokenizer_class" && value == kUsualClass;
    if (!usual && !Contains(kTokenizerKept, field)) lost.push_back(field);
  }
  return lost;
}

}  // namespace

std::vector<std::string> NotesOnLostFields(const ConvertSource& source) {
  std::vector<std::string> notes;
  if (const auto lost = LostOfConfig(source); !lost.empty()) {
    notes.push_back("a GGUF has no place for these fields of config.json: " + Joined(lost));
  }
  if (const auto lost = LostOfTokenizerConfig(source); !lost.empty()) {
    notes.push_back("a GGUF has no place for these fields of tokenizer_config.json: " +
                    Joined(lost));
  }
  return notes;
}

std::vector<std::string> NotesOnLostKeys(const ConvertSource& source) {
  if (source.metadata == nullptr) return {};
  const GgufArchitecture* architecture = GgufArchitectureOfFamily(source.config.family);
  const std::string own = std::string(architecture->name) + ".";
  std::vector<std::string> lost;
  for (const auto& [key, value] : source.metadata->values()) {
    const bool is_template =
        key.starts_with("tokenizer.chat_template") && key != kGgufChatTemplateKey;
    const bool is_kept = key.starts_with(own) || key.starts_with("npumoe.") ||
                         key.starts_with("split.") || key.starts_with("tokenizer.") ||
                         Contains(kKeysOfTheFile, key);
    if (!is_kept || is_template) lost.emplace_back(key);
  }
  if (lost.empty()) return {};
  return {"a model folder has no place for these keys of the GGUF: " + Joined(lost)};
}

}  // namespace npumoe
