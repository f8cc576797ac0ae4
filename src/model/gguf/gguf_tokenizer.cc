#include "model/gguf/gguf_tokenizer.h"

#include <limits>

#include "model/gguf/gguf_model.h"
#include "model/tokenizer/tokenizer_json.h"

namespace npumoe {
namespace {

Result<std::optional<int32_t>> TokenId(const GgufMetadata& metadata, std::string_view key,
                                       size_t vocab_size) {
  if (!metadata.Has(key)) return std::optional<int32_t>();
  // Some converters write -1 or 2^32 - 1 for "there is none".
  NPUMOE_ASSIGN_OR_RETURN(const int64_t id,
                          metadata.Int(key, -1, std::numeric_limits<uint32_t>::max()));
  if (id == -1 || id == std::numeric_limits<uint32_t>::max()) return std::optional<int32_t>();
  if (id < static_cast<int64_t>(vocab_size)) return std::optional(static_cast<int32_t>(id));
  return metadata.KeyError(key, "tokenizer.ggml.tokens has " + std::to_string(vocab_size));
}

Result<std::optional<bool>> Flag(const GgufMetadata& metadata, std::string_view key) {
  if (!metadata.Has(key)) return std::optional<bool>();
  NPUMOE_ASSIGN_OR_RETURN(const bool flag, metadata.Bool(key, false));
  return std::optional(flag);
}

// One value per token, or none at all.
Status CheckLength(const GgufMetadata& metadata, std::string_view key, size_t length,
                   size_t tokens) {
  if (length == 0 || length == tokens) return OkStatus();
  return metadata.KeyError(
      key, "tokenizer.ggml.tokens has " + std::to_string(tokens) + ", one for each is needed");
}

Status ReadLists(const GgufMetadata& metadata, GgufVocabulary& vocabulary) {
  NPUMOE_ASSIGN_OR_RETURN(const auto tokens, metadata.Strings("tokenizer.ggml.tokens"));
  if (tokens.empty() || tokens.size() > size_t{kMaxTokenId} + 1) {
    return metadata.KeyError("tokenizer.ggml.tokens",
                             "from 1 to " + std::to_string(kMaxTokenId + 1) + " are needed");
  }
  vocabulary.tokens.assign(tokens.begin(), tokens.end());
  NPUMOE_ASSIGN_OR_RETURN(const auto merges, metadata.Strings("tokenizer.ggml.merges"));
  vocabulary.merges.assign(merges.begin(), merges.end());
  NPUMOE_ASSIGN_OR_RETURN(const auto scores, metadata.Numbers("tokenizer.ggml.scores"));
  vocabulary.scores.assign(scores.begin(), scores.end());
  NPUMOE_ASSIGN_OR_RETURN(const auto types, metadata.Ints("tokenizer.ggml.token_type", 0, 255));
  vocabulary.types.assign(types.begin(), types.end());
  NPUMOE_RETURN_IF_ERROR(
      CheckLength(metadata, "tokenizer.ggml.scores", scores.size(), tokens.size()));
  return CheckLength(metadata, "tokenizer.ggml.token_type", types.size(), tokens.size());
}

}  // namespace

Result<std::optional<GgufVocabulary>> ReadGgufVocabulary(const GgufMetadata& metadata) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string model, metadata.String("tokenizer.ggml.model", "none"));
  if (model == "none" || model == "no_vocab") return std::optional<GgufVocabulary>();
  GgufVocabulary vocabulary;
  vocabulary.model = model;
  NPUMOE_ASSIGN_OR_RETURN(vocabulary.pre, metadata.String("tokenizer.ggml.pre", ""));
  NPUMOE_RETURN_IF_ERROR(ReadLists(metadata, vocabulary));
  const size_t size = vocabulary.tokens.size();
  const auto id = [&](std::string_view key) { return TokenId(metadata, key, size); };
  NPUMOE_ASSIGN_OR_RETURN(vocabulary.bos_id, id("tokenizer.ggml.bos_token_id"));
  NPUMOE_ASSIGN_OR_RETURN(vocabulary.eos_id, id("tokenizer.ggml.eos_token_id"));
  NPUMOE_ASSIGN_OR_RETURN(vocabulary.unknown_id, id("tokenizer.ggml.unknown_token_id"));
  NPUMOE_ASSIGN_OR_RETURN(vocabulary.padding_id, id("tokenizer.ggml.padding_token_id"));
  NPUMOE_ASSIGN_OR_RETURN(vocabulary.add_bos, Flag(metadata, "tokenizer.ggml.add_bos_token"));
  NPUMOE_ASSIGN_OR_RETURN(vocabulary.add_eos, Flag(metadata, "tokenizer.ggml.add_eos_token"));
  NPUMOE_ASSIGN_OR_RETURN(vocabulary.add_space_prefix,
                          Flag(metadata, "tokenizer.ggml.add_space_prefix"));
  return std::optional(std::move(vocabulary));
}

Result<std::string> GgufTokenizerJson(const GgufMetadata& metadata) {
  if (metadata.Has(kGgufTokenizerJsonKey)) return metadata.String(kGgufTokenizerJsonKey);
  NPUMOE_ASSIGN_OR_RETURN(const std::optional<GgufVocabulary> vocabulary,
                          ReadGgufVocabulary(metadata));
  if (!vocabulary) return std::string();
  NPUMOE_ASSIGN_OR_RETURN(const TokenizerSpec spec, SpecFromGguf(*vocabulary, metadata.name()));
  return TokenizerJsonText(spec);
}

}  // namespace npumoe
