#include "model/tokenizer/gguf_vocabulary.h"

#include <algorithm>
#include <span>
#include <unordered_map>

#include "base/hash.h"
#include "model/tokenizer/gguf_patterns.h"
#include "model/tokenizer/sentence_piece_merges.h"
#include "model/tokenizer/utf8.h"

namespace npumoe {
namespace {

constexpr char kTokens[] = "tokenizer.ggml.tokens";
constexpr char kMerges[] = "tokenizer.ggml.merges";

Status FieldError(const std::string& name, const std::string& field, const std::string& what) {
  return InvalidInput(name + ": field '" + field + "': " + what);
}

std::string Listed(const std::vector<GgufPattern>& patterns) {
  std::string names;
  for (const GgufPattern& pattern : patterns) {
    for (const std::string_view name : pattern.names) {
      if (names.find("'" + std::string(name) + "'") != names.npos) continue;
      names += (names.empty() ? "'" : ", '") + std::string(name) + "'";
    }
  }
  return names;
}

bool IsOneForEach(size_t count, const GgufVocabulary& vocabulary) {
  return count == 0 || count == vocabulary.tokens.size();
}

Status CheckLists(const GgufVocabulary& vocabulary, const std::string& name) {
  const size_t count = vocabulary.tokens.size();
  if (count == 0 || count > size_t{kMaxTokenId} + 1) {
    return FieldError(name, kTokens,
                      "it has " + std::to_string(count) + " tokens, from 1 to " +
                          std::to_string(kMaxTokenId + 1) + " are allowed");
  }
  if (!IsOneForEach(vocabulary.types.size(), vocabulary)) {
    return FieldError(name, "tokenizer.ggml.token_type",
                      "it has " + std::to_string(vocabulary.types.size()) +
                          " entries, one for each of the " + std::to_string(count) +
                          " tokens is needed");
  }
  for (const std::optional<int32_t> id :
       {vocabulary.bos_id, vocabulary.eos_id, vocabulary.unknown_id, vocabulary.padding_id}) {
    if (!id || (*id >= 0 && static_cast<size_t>(*id) < count)) continue;
    return FieldError(name, "tokenizer.ggml.*_token_id",
                      "the id " + std::to_string(*id) + " is outside the vocabulary, from 0 to " +
                          std::to_string(count - 1) + " are allowed");
  }
  return OkStatus();
}

GgufTokenType TypeOf(const GgufVocabulary& vocabulary, size_t id) {
  if (vocabulary.types.empty()) return GgufTokenType::kNormal;
  return static_cast<GgufTokenType>(vocabulary.types[id]);
}

// Spellings with their ids; each may stand there once.
Status ReadTokens(const GgufVocabulary& vocabulary, const std::string& name, TokenizerSpec* spec) {
  std::unordered_map<std::string_view, size_t> seen;
  seen.reserve(vocabulary.tokens.size());
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    if (FirstInvalidUtf8(token)) {
      return FieldError(name, kTokens, "token " + std::to_string(id) + " is not valid UTF-8");
    }
    const auto [first, is_new] = seen.emplace(token, id);
    if (!is_new) {
      return FieldError(name, kTokens,
                        "'" + token + "' stands there twice, with the ids " +
                            std::to_string(first->second) + " and " + std::to_string(id) +
                            "; each token needs a spelling of its own");
    }
    spec->bpe.vocabulary.emplace_back(token, static_cast<int32_t>(id));
  }
  return OkStatus();
}

// Control tokens are special; those that the user defined are found everywhere.
Status ReadAddedTokens(const GgufVocabulary& vocabulary, const std::string& name,
                       TokenizerSpec* spec) {
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const GgufTokenType type = TypeOf(vocabulary, id);
    const bool is_unknown = vocabulary.unknown_id == static_cast<int32_t>(id);
    const bool is_special =
        type == GgufTokenType::kControl || (type == GgufTokenType::kUnknown && is_unknown);
    if (!is_special && type != GgufTokenType::kUserDefined) continue;
    AddedToken token;
    token.content = vocabulary.tokens[id];
    token.id = static_cast<int32_t>(id);
    token.special = is_special;
    token.is_literal = true;
    if (token.content.empty() || token.content.size() > kMaxAddedTokenBytes) {
      return FieldError(name, kTokens,
                        "the control token " + std::to_string(id) + " has " +
                            std::to_string(token.content.size()) + " bytes, from 1 to " +
                            std::to_string(kMaxAddedTokenBytes) + " are allowed");
    }
    spec->added_tokens.push_back(std::move(token));
  }
  return OkStatus();
}

Status ReadMerges(const GgufVocabulary& vocabulary, const std::string& name, BpeSpec* bpe) {
  if (vocabulary.merges.empty()) {
    return FieldError(name, kMerges,
                      "it is missing or empty, and byte-level BPE (tokenizer.ggml.model 'gpt2') "
                      "cannot do without; convert the model again");
  }
  bpe->merges.reserve(vocabulary.merges.size());
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string& merge = vocabulary.merges[i];
    const size_t space = merge.find(' ', 1);
    if (merge.empty() || space == merge.npos || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != merge.npos) {
      return FieldError(name, std::string(kMerges) + "[" + std::to_string(i) + "]",
                        "two tokens with a space between them are needed");
    }
    bpe->merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return OkStatus();
}

// "gpt2": byte-level BPE. True: a text begins with BOS where the file does not say.
Result<bool> ReadByteLevel(const GgufVocabulary& vocabulary, const std::string& name,
                           TokenizerSpec* spec) {
  const std::vector<GgufPattern> patterns = GgufPatterns();
  const std::string pre = vocabulary.pre.empty() ? "default" : vocabulary.pre;
  const auto pattern = std::ranges::find_if(patterns, [&](const GgufPattern& candidate) {
    return std::ranges::find(candidate.names, pre) != candidate.names.end();
  });
  if (pattern == patterns.end()) {
    return Unsupported(name + ": field 'tokenizer.ggml.pre': '" + pre +
                       "' is not known, known are " + Listed(patterns));
  }
  spec->pre_tokenizers = pattern->steps;
  if (pattern->composes) spec->normalizers.push_back(NfcNormalizer{});
  spec->bpe.ignore_merges = pattern->ignores_merges;
  NPUMOE_RETURN_IF_ERROR(ReadMerges(vocabulary, name, &spec->bpe));
  return pattern->adds_bos;
}

// "llama": SentencePiece's BPE, whose merges follow from the tokens' scores.
Result<bool> ReadSentencePiece(const GgufVocabulary& vocabulary, const std::string& name,
                               TokenizerSpec* spec) {
  spec->bpe.symbols = BpeSymbols::kCharacters;
  spec->bpe.byte_fallback = true;
  if (vocabulary.unknown_id) {
    spec->bpe.unknown_token = vocabulary.tokens[static_cast<size_t>(*vocabulary.unknown_id)];
  }
  const bool adds_space = vocabulary.add_space_prefix.value_or(true);
  if (adds_space) spec->normalizers.push_back(PrependNormalizer{kVisibleSpace});
  spec->normalizers.push_back(ReplaceNormalizer{" ", kVisibleSpace});
  spec->decoder.kind = DecoderSpec::Kind::kSpellings;
  spec->decoder.replacements.push_back({kVisibleSpace, " "});
  spec->decoder.byte_fallback = true;
  if (adds_space) {
    spec->decoder.strip_content = " ";
    spec->decoder.strip_start = 1;
  }
  NPUMOE_RETURN_IF_ERROR(AddSentencePieceMerges(vocabulary, name, &spec->bpe));
  return true;
}

// BOS and EOS: which they are, and whether every text has them.
void ReadFrame(const GgufVocabulary& vocabulary, bool adds_bos, TokenizerSpec* spec) {
  const auto spelling = [&](std::optional<int32_t> id) {
    return id ? vocabulary.tokens[static_cast<size_t>(*id)] : std::string();
  };
  spec->bos_token = spelling(vocabulary.bos_id);
  spec->eos_token = spelling(vocabulary.eos_id);
  if (vocabulary.add_bos.value_or(adds_bos) && vocabulary.bos_id) {
    spec->prefix_ids.push_back(*vocabulary.bos_id);
  }
  if (vocabulary.add_eos.value_or(false) && vocabulary.eos_id) {
    spec->suffix_ids.push_back(*vocabulary.eos_id);
  }
}

}  // namespace

Result<TokenizerSpec> SpecFromGguf(const GgufVocabulary& vocabulary, const std::string& name) {
  TokenizerSpec spec;
  spec.bpe.vocabulary_field = kTokens;
  spec.bpe.merges_field = kMerges;
  const bool is_byte_level = vocabulary.model == "gpt2";
  if (!is_byte_level && vocabulary.model != "llama") {
    return Unsupported(name + ": field 'tokenizer.ggml.model': '" + vocabulary.model +
                       "' is not supported, only 'gpt2' (byte-level BPE) and 'llama' "
                       "(SentencePiece's BPE)");
  }
  NPUMOE_RETURN_IF_ERROR(CheckLists(vocabulary, name));
  NPUMOE_RETURN_IF_ERROR(ReadTokens(vocabulary, name, &spec));
  NPUMOE_RETURN_IF_ERROR(ReadAddedTokens(vocabulary, name, &spec));
  NPUMOE_ASSIGN_OR_RETURN(const bool adds_bos, is_byte_level
                                                   ? ReadByteLevel(vocabulary, name, &spec)
                                                   : ReadSentencePiece(vocabulary, name, &spec));
  ReadFrame(vocabulary, adds_bos, &spec);
  return spec;
}

std::string HashOf(const GgufVocabulary& vocabulary) {
  Hasher hasher;
  const auto add_number = [&](auto number) { hasher.Add(number ? int64_t{*number} : -1); };
  hasher.Add(vocabulary.model).Add(vocabulary.pre);
  for (const std::string& token : vocabulary.tokens) hasher.Add(token);
  for (const std::string& merge : vocabulary.merges) hasher.Add(merge);
  hasher.Add(std::as_bytes(std::span(vocabulary.scores)));
  hasher.Add(std::as_bytes(std::span(vocabulary.types)));
  add_number(vocabulary.bos_id);
  add_number(vocabulary.eos_id);
  add_number(vocabulary.unknown_id);
  add_number(vocabulary.add_bos);
  add_number(vocabulary.add_eos);
  add_number(vocabulary.add_space_prefix);
  return hasher.Hex();
}

}  // namespace npumoe
