#include "convert/metadata.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "convert/lost_fields.h"
#include "model/gguf/gguf_config.h"
#include "model/gguf/gguf_model.h"

namespace npumoe {
namespace {

void AddId(std::string_view key, const std::optional<int32_t>& id, GgufMetadataBuilder& builder) {
  if (id) builder.AddU32(key, static_cast<uint32_t>(*id));
}

void AddFlag(std::string_view key, const std::optional<bool>& flag, GgufMetadataBuilder& builder) {
  if (flag) builder.AddBool(key, *flag);
}

void AddVocabulary(const GgufVocabulary& vocabulary, GgufMetadataBuilder& builder) {
  builder.AddString("tokenizer.ggml.model", vocabulary.model);
  if (!vocabulary.pre.empty()) builder.AddString("tokenizer.ggml.pre", vocabulary.pre);
  builder.AddStrings("tokenizer.ggml.tokens", vocabulary.tokens);
  if (!vocabulary.scores.empty()) builder.AddF32s("tokenizer.ggml.scores", vocabulary.scores);
  if (!vocabulary.types.empty()) builder.AddI32s("tokenizer.ggml.token_type", vocabulary.types);
  if (!vocabulary.merges.empty()) builder.AddStrings("tokenizer.ggml.merges", vocabulary.merges);
  AddId("tokenizer.ggml.bos_token_id", vocabulary.bos_id, builder);
  AddId("tokenizer.ggml.eos_token_id", vocabulary.eos_id, builder);
  AddId("tokenizer.ggml.unknown_token_id", vocabulary.unknown_id, builder);
  AddId("tokenizer.ggml.padding_token_id", vocabulary.padding_id, builder);
  AddFlag("tokenizer.ggml.add_bos_token", vocabulary.add_bos, builder);
  AddFlag("tokenizer.ggml.add_eos_token", vocabulary.add_eos, builder);
  AddFlag("tokenizer.ggml.add_space_prefix", vocabulary.add_space_prefix, builder);
}

// What files that are read know of the end of a text where their tokenizer does not say.
void TakeEndToken(const ConvertSource& source, GgufVocabulary& vocabulary) {
  if (vocabulary.eos_id || source.generation_json.empty()) return;
  const auto json = Json::parse(source.generation_json, nullptr, false);
  if (!json.is_object() || !json.contains("eos_token_id")) return;
  const Json& ids = json["eos_token_id"];
  const Json& first = ids.is_array() && !ids.empty() ? ids.front() : ids;
  if (first.is_number_integer()) vocabulary.eos_id = first.get<int32_t>();
}

void AddTokenizer(const ConvertSource& source, GgufMetadataBuilder& builder,
                  std::vector<std::string>& notes) {
  if (!source.tokenizer) {
    builder.AddString("tokenizer.ggml.model", "none");
    notes.emplace_back("the model has no tokenizer, so the file takes token ids only");
    return;
  }
  Result<GgufVocabulary> vocabulary =
      GgufFromSpec(*source.tokenizer, source.config.vocab_size, source.path.string());
  if (vocabulary.ok()) {
    TakeEndToken(source, *vocabulary);
    AddVocabulary(*vocabulary, builder);
  } else {
    notes.push_back("other engines will find no tokenizer: " + vocabulary.status().message());
  }
  if (!source.tokenizer_json.empty()) {
    builder.AddString(kGgufTokenizerJsonKey, source.tokenizer_json);
  }
  if (!source.chat_template.empty()) {
    builder.AddString(kGgufChatTemplateKey, source.chat_template);
  }
}

bool IsCopied(std::string_view key) {
  if (key == "general.architecture" || key == "general.file_type" || key == "general.alignment" ||
      key == "general.quantization_version" || key == kGgufGenerationKey) {
    return false;
  }
  return key.starts_with("general.") || key.starts_with("tokenizer.");
}

std::string ModelName(const std::filesystem::path& path) {
  const std::filesystem::path clean = path.lexically_normal();
  return (clean.has_filename() ? clean.filename() : clean.parent_path().filename()).string();
}

}  // namespace

Status AddModelMetadata(const ConvertSource& source, GgufMetadataBuilder& builder,
                        std::vector<std::string>& notes) {
  AddConfigToGguf(source.config, builder);
  if (!source.generation_json.empty()) {
    builder.AddString(kGgufGenerationKey, source.generation_json);
  }
  if (source.metadata == nullptr) {
    builder.AddString("general.name", ModelName(source.path));
    AddTokenizer(source, builder, notes);
    std::ranges::move(NotesOnLostFields(source), std::back_inserter(notes));
    return OkStatus();
  }
  for (const auto& [key, value] : source.metadata->values()) {
    if (IsCopied(key)) builder.AddCopy(key, value);
  }
  return OkStatus();
}

}  // namespace npumoe
