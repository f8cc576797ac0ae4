#include "model/gguf/gguf_model.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/hash.h"
#include "base/json.h"
#include "model/gguf/gguf_config.h"
#include "model/gguf/gguf_tokenizer.h"
#include "model/gguf/gguf_weights.h"
#include "model/model_hash.h"
#include "model/model_parts.h"
#include "model/tokenizer/tokenizer_json.h"

namespace npumoe {
namespace {

// The ids that ggml's keys put before and behind texts, and their spellings.
void TakeTextEnds(const GgufVocabulary& vocabulary, TokenizerSpec& spec) {
  const auto spelling = [&](const std::optional<int32_t>& id) {
    return id ? vocabulary.tokens[static_cast<size_t>(*id)] : std::string();
  };
  if (vocabulary.add_bos.value_or(false) && vocabulary.bos_id && spec.prefix_ids.empty()) {
    spec.prefix_ids = {*vocabulary.bos_id};
  }
  if (vocabulary.add_eos.value_or(false) && vocabulary.eos_id && spec.suffix_ids.empty()) {
    spec.suffix_ids = {*vocabulary.eos_id};
  }
  if (spec.bos_token.empty()) spec.bos_token = spelling(vocabulary.bos_id);
  if (spec.eos_token.empty()) spec.eos_token = spelling(vocabulary.eos_id);
}

Result<std::shared_ptr<const Tokenizer>> FromEmbeddedJson(
    const GgufMetadata& metadata, const std::optional<GgufVocabulary>& vocabulary) {
  const std::string name = metadata.name() + ": key '" + kGgufTokenizerJsonKey + "'";
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, metadata.String(kGgufTokenizerJsonKey));
  NPUMOE_ASSIGN_OR_RETURN(TokenizerSpec spec, ParseTokenizerJson(text, name));
  if (vocabulary) TakeTextEnds(*vocabulary, spec);
  return Tokenizer::FromSpec(spec, name, Hasher().Add(std::string_view(text)).Hex());
}

// The tokens that end an answer in a file that was not written by us: each key names one.
Result<std::vector<int32_t>> EndTokens(const GgufMetadata& metadata, int vocab_size) {
  std::vector<int32_t> tokens;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    if (!metadata.Has(key)) continue;
    NPUMOE_ASSIGN_OR_RETURN(const int64_t id, metadata.Int(key, -1, (int64_t{1} << 32) - 1));
    if (id < 0 || id >= vocab_size) continue;  // what some converters write for "none"
    const auto token = static_cast<int32_t>(id);
    if (std::ranges::find(tokens, token) == tokens.end()) tokens.push_back(token);
  }
  return tokens;
}

Status LoadTokenizer(const GgufMetadata& metadata, Model& model) {
  NPUMOE_ASSIGN_OR_RETURN(auto tokenizer, LoadGgufTokenizer(metadata));
  if (tokenizer == nullptr) return OkStatus();
  NPUMOE_RETURN_IF_ERROR(TakeTokenizer(std::move(tokenizer), metadata.name(), model));
  NPUMOE_ASSIGN_OR_RETURN(const std::string source, metadata.String(kGgufChatTemplateKey, ""));
  TakeChatTemplate(source, model);
  return OkStatus();
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> LoadGgufTokenizer(const GgufMetadata& metadata) {
  NPUMOE_ASSIGN_OR_RETURN(const std::optional<GgufVocabulary> vocabulary,
                          ReadGgufVocabulary(metadata));
  if (metadata.Has(kGgufTokenizerJsonKey)) return FromEmbeddedJson(metadata, vocabulary);
  if (!vocabulary) return std::shared_ptr<const Tokenizer>();
  return Tokenizer::FromGguf(*vocabulary, metadata.name());
}

Result<GenerationConfig> ReadGgufGeneration(const GgufMetadata& metadata, int vocab_size) {
  GenerationConfig config;
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, metadata.String(kGgufGenerationKey, ""));
  if (!text.empty()) {
    const std::string name = metadata.name() + ": key '" + kGgufGenerationKey + "'";
    NPUMOE_ASSIGN_OR_RETURN(const Json json, ParseJson(text, name));
    NPUMOE_ASSIGN_OR_RETURN(config, ParseGenerationConfig(json, name, vocab_size));
  }
  if (!config.end_tokens.empty()) return config;
  NPUMOE_ASSIGN_OR_RETURN(config.end_tokens, EndTokens(metadata, vocab_size));
  return config;
}

Result<std::shared_ptr<const Model>> LoadGgufModel(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(const GgufModelFile file, GgufModelFile::Open(path));
  const GgufMetadata& metadata = file.metadata();
  auto model = std::make_shared<Model>();
  model->path = path;
  NPUMOE_ASSIGN_OR_RETURN(model->config, ConfigFromGguf(metadata, file.tensors()));
  NPUMOE_ASSIGN_OR_RETURN(model->weights, BindGgufWeights(model->config, file.tensors(),
                                                          [&file](const std::string& name) {
                                                            return file.FileOf(name);
                                                          }));
  for (const GgufFile& part : file.parts()) model->weights.storage.push_back(part.storage());
  model->hash = HashOfModel(model->config, file.tensors());
  NPUMOE_ASSIGN_OR_RETURN(model->generation,
                          ReadGgufGeneration(metadata, model->config.vocab_size));
  NPUMOE_RETURN_IF_ERROR(LoadTokenizer(metadata, *model));
  return std::shared_ptr<const Model>(std::move(model));
}

}  // namespace npumoe
