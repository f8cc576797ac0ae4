#include "model/tokenizer/vocabulary.h"

#include <algorithm>
#include <unordered_map>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/normalizer_pipeline.h"
#include "model/tokenizer/symbol_table.h"

namespace npumoe {
namespace {

int32_t LargestId(const TokenizerSpec& spec) {
  int32_t largest = -1;
  for (const auto& [spelling, id] : spec.bpe.vocabulary) largest = std::max(largest, id);
  for (const AddedToken& token : spec.added_tokens) largest = std::max(largest, token.id);
  return largest;
}

// A token that stands twice is one token only where both entries say the same of it: which of them
// counts (whether it is special, say) would be a guess.
Status RefuseContradictions(const std::vector<AddedToken>& tokens, const std::string& name) {
  std::unordered_map<std::string_view, const AddedToken*> first;
  for (const AddedToken& token : tokens) {
    const auto [known, is_new] = first.emplace(token.content, &token);
    if (is_new || *known->second == token) continue;
    return InvalidInput(name + ": field 'added_tokens': '" + token.content +
                        "' stands there twice with different ids or properties; keep one of them");
  }
  return OkStatus();
}

}  // namespace

Result<Vocabulary> Vocabulary::Build(const TokenizerSpec& spec,
                                     const std::vector<std::string>& decoded_contents,
                                     const std::string& name) {
  Vocabulary vocabulary;
  const size_t size = static_cast<size_t>(LargestId(spec) + 1);
  vocabulary.bytes_.resize(size);
  vocabulary.taken_.resize(size);
  vocabulary.special_.resize(size);
  vocabulary.is_byte_.resize(size);
  NPUMOE_RETURN_IF_ERROR(vocabulary.AddModelTokens(spec, name));
  NPUMOE_RETURN_IF_ERROR(vocabulary.AddAddedTokens(spec, decoded_contents, name));
  return vocabulary;
}

Status Vocabulary::AddModelTokens(const TokenizerSpec& spec, const std::string& name) {
  const BpeSpec& bpe = spec.bpe;
  ids_.reserve(bpe.vocabulary.size());
  for (const auto& [spelling, id] : bpe.vocabulary) {
    const size_t index = static_cast<size_t>(id);
    if (taken_[index]) {
      return InvalidInput(name + ": field '" + bpe.vocabulary_field + "': two tokens have the id " +
                          std::to_string(id) + " (one is '" + spelling +
                          "'); each token needs an id of its own");
    }
    taken_[index] = true;
    SetBytes(id, spelling, spec.decoder);
    ids_.emplace(spelling, id);
  }
  return OkStatus();
}

Status Vocabulary::AddAddedTokens(const TokenizerSpec& spec,
                                  const std::vector<std::string>& decoded_contents,
                                  const std::string& name) {
  NPUMOE_RETURN_IF_ERROR(RefuseContradictions(spec.added_tokens, name));
  for (size_t i = 0; i < spec.added_tokens.size(); ++i) {
    const AddedToken& token = spec.added_tokens[i];
    const auto [known, is_new] = ids_.emplace(token.content, token.id);
    if (known->second != token.id) {
      return InvalidInput(name + ": field 'added_tokens': '" + token.content + "' has the id " +
                          std::to_string(token.id) + ", but the vocabulary gives it " +
                          std::to_string(known->second) + "; both must agree");
    }
    const size_t index = static_cast<size_t>(token.id);
    if (is_new && taken_[index]) {
      return InvalidInput(name + ": field 'added_tokens': '" + token.content + "' has the id " +
                          std::to_string(token.id) +
                          ", which already stands for another token; give it an id of its own");
    }
    taken_[index] = true;
    special_[index] = special_[index] || token.special;
    if (token.is_literal) {
      bytes_[index] = decoded_contents[i];
      is_byte_[index] = false;
    } else {
      SetBytes(token.id, decoded_contents[i], spec.decoder);
    }
  }
  return OkStatus();
}

// As the reference decodes: through the byte-level alphabet when every character is of it, else as
// it is; or by the replacements and the byte fallback of the decoder.
void Vocabulary::SetBytes(int32_t id, const std::string& spelling, const DecoderSpec& decoder) {
  std::string& bytes = bytes_[static_cast<size_t>(id)];
  if (decoder.kind == DecoderSpec::Kind::kByteLevel) {
    bytes = BytesOfSpelling(spelling).value_or(spelling);
    return;
  }
  bytes = spelling;
  for (const ReplaceNormalizer& replacement : decoder.replacements) {
    bytes = ReplaceAll(bytes, replacement.pattern, replacement.content);
  }
  const int byte = decoder.byte_fallback ? ByteOfFallbackToken(bytes) : -1;
  is_byte_[static_cast<size_t>(id)] = byte >= 0;
  if (byte >= 0) bytes = std::string(1, static_cast<char>(byte));
}

std::optional<int32_t> Vocabulary::Find(std::string_view spelling) const {
  const auto found = ids_.find(spelling);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

}  // namespace npumoe
