#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "model/tokenizer/gguf_patterns.h"
#include "model/tokenizer/gguf_vocabulary.h"
#include "model/tokenizer/symbol_table.h"

namespace npumoe {
namespace {

bool Composes(const TokenizerSpec& spec) {
  return !spec.normalizers.empty() && std::holds_alternative<NfcNormalizer>(spec.normalizers[0]);
}

// The name of the pattern that cuts alike; of several that which normalizes and merges alike, too.
std::optional<std::string_view> PatternName(const TokenizerSpec& spec) {
  const std::vector<GgufPattern> patterns = GgufPatterns();
  const GgufPattern* best = nullptr;
  int best_agreement = -1;
  for (const GgufPattern& pattern : patterns) {
    if (pattern.steps != spec.pre_tokenizers) continue;
    const int agreement = 2 * (pattern.composes == Composes(spec)) +
                          (pattern.ignores_merges == spec.bpe.ignore_merges);
    if (agreement > best_agreement) best = &pattern;
    best_agreement = std::max(agreement, best_agreement);
  }
  if (best == nullptr) return std::nullopt;
  return best->names.front();
}

Status NoName(const std::string& name, const std::string& what) {
  return Unsupported(name + ": " + what +
                     ", for which GGUF has no name; write the model without its tokenizer");
}

// Spelling and type of each id. Ids that stand for nothing become unused tokens.
Status FillTokens(const TokenizerSpec& spec, int vocab_size, const std::string& name,
                  GgufVocabulary* vocabulary) {
  vocabulary->tokens.assign(static_cast<size_t>(vocab_size), "");
  vocabulary->types.assign(static_cast<size_t>(vocab_size),
                           static_cast<int32_t>(GgufTokenType::kUnused));
  const auto put = [&](const std::string& spelling, int32_t id, GgufTokenType type) -> Status {
    if (id >= vocab_size) {
      return InvalidInput(name + ": the token '" + spelling + "' has the id " + std::to_string(id) +
                          ", the model's vocab_size is " + std::to_string(vocab_size));
    }
    vocabulary->tokens[static_cast<size_t>(id)] = spelling;
    vocabulary->types[static_cast<size_t>(id)] = static_cast<int32_t>(type);
    return OkStatus();
  };
  for (const auto& [spelling, id] : spec.bpe.vocabulary) {
    const bool is_byte = spec.bpe.byte_fallback && ByteOfFallbackToken(spelling) >= 0;
    NPUMOE_RETURN_IF_ERROR(
        put(spelling, id, is_byte ? GgufTokenType::kByte : GgufTokenType::kNormal));
  }
  for (const AddedToken& token : spec.added_tokens) {
    NPUMOE_RETURN_IF_ERROR(
        put(token.content, token.id,
            token.special ? GgufTokenType::kControl : GgufTokenType::kUserDefined));
  }
  std::unordered_set<std::string> taken(vocabulary->tokens.begin(), vocabulary->tokens.end());
  for (size_t id = 0; id < vocabulary->tokens.size(); ++id) {
    if (!vocabulary->tokens[id].empty()) continue;
    std::string unused = "[PAD" + std::to_string(id) + "]";
    while (!taken.insert(unused).second) unused += "'";
    vocabulary->tokens[id] = unused;
  }
  return OkStatus();
}

std::optional<int32_t> IdOf(const GgufVocabulary& vocabulary, const std::string& spelling) {
  const auto found = std::ranges::find(vocabulary.tokens, spelling);
  if (spelling.empty() || found == vocabulary.tokens.end()) return std::nullopt;
  return static_cast<int32_t>(found - vocabulary.tokens.begin());
}

Status FillFrame(const TokenizerSpec& spec, const std::string& name, GgufVocabulary* vocabulary) {
  if (spec.prefix_ids.size() > 1 || spec.suffix_ids.size() > 1) {
    return NoName(name, "the tokenizer puts several tokens around a text");
  }
  vocabulary->bos_id = IdOf(*vocabulary, spec.bos_token);
  vocabulary->eos_id = IdOf(*vocabulary, spec.eos_token);
  vocabulary->unknown_id = IdOf(*vocabulary, spec.bpe.unknown_token);
  if (!spec.prefix_ids.empty()) vocabulary->bos_id = spec.prefix_ids[0];
  if (!spec.suffix_ids.empty()) vocabulary->eos_id = spec.suffix_ids[0];
  vocabulary->add_bos = !spec.prefix_ids.empty();
  vocabulary->add_eos = !spec.suffix_ids.empty();
  return OkStatus();
}

// Whether a space is put before texts; none: the steps are not those of SentencePiece.
std::optional<bool> AddsSpace(const TokenizerSpec& spec) {
  if (spec.pre_tokenizers.size() == 1 && spec.normalizers.empty()) {
    const auto* metaspace = std::get_if<MetaspaceStep>(&spec.pre_tokenizers[0]);
    if (metaspace == nullptr || metaspace->replacement != kVisibleSpace) return std::nullopt;
    return metaspace->prepend != MetaspaceStep::Prepend::kNever;
  }
  if (!spec.pre_tokenizers.empty() || spec.normalizers.empty()) return std::nullopt;
  const auto* replace = std::get_if<ReplaceNormalizer>(&spec.normalizers.back());
  const bool replaces =
      replace != nullptr && replace->pattern == " " && replace->content == kVisibleSpace;
  if (!replaces) return std::nullopt;
  if (spec.normalizers.size() == 1) return false;
  const auto* prepend = std::get_if<PrependNormalizer>(&spec.normalizers[0]);
  const bool prepends = spec.normalizers.size() == 2 && prepend != nullptr &&
                        (prepend->text == kVisibleSpace || prepend->text == " ");
  return prepends ? std::optional(true) : std::nullopt;
}

// A token's score is the better, the earlier its first merge; tokens of one character and those
// without a merge have none to win.
void FillScores(const BpeSpec& bpe, GgufVocabulary* vocabulary) {
  std::unordered_map<std::string, uint32_t> ranks;
  for (size_t i = 0; i < bpe.merges.size(); ++i) {
    const uint32_t rank = bpe.merge_ranks.empty() ? static_cast<uint32_t>(i) : bpe.merge_ranks[i];
    const auto [first, is_new] = ranks.emplace(bpe.merges[i].first + bpe.merges[i].second, rank);
    if (!is_new) first->second = std::min(first->second, rank);
  }
  // Ranks themselves may be too large for a float to tell apart; their order is what counts.
  std::map<uint32_t, float> score_of_rank;
  for (const auto& [spelling, rank] : ranks) score_of_rank.emplace(rank, 0.0f);
  float score = 0;
  for (auto& [rank, its_score] : score_of_rank) its_score = score -= 1;
  const float lowest = score - 1;
  for (const std::string& token : vocabulary->tokens) {
    const auto rank = ranks.find(token);
    vocabulary->scores.push_back(rank == ranks.end() ? lowest : score_of_rank[rank->second]);
  }
}

Status FillByteLevel(const TokenizerSpec& spec, const std::string& name,
                     GgufVocabulary* vocabulary) {
  const auto* byte_level = std::get_if<ByteLevelStep>(&spec.pre_tokenizers.back());
  const std::optional<std::string_view> pattern = PatternName(spec);
  if (!pattern || byte_level == nullptr || spec.normalizers.size() > (Composes(spec) ? 1u : 0u)) {
    return NoName(name, "the tokenizer normalizes or cuts text in its own way");
  }
  vocabulary->model = "gpt2";
  vocabulary->pre = *pattern;
  for (const auto& [left, right] : spec.bpe.merges) {
    vocabulary->merges.push_back(left + " " + right);
  }
  return OkStatus();
}

Status FillSentencePiece(const TokenizerSpec& spec, const std::string& name,
                         GgufVocabulary* vocabulary) {
  const std::optional<bool> adds_space = AddsSpace(spec);
  if (!adds_space || !spec.bpe.byte_fallback) {
    return NoName(name, "the tokenizer treats spaces or unknown characters in its own way");
  }
  vocabulary->model = "llama";
  vocabulary->pre = "default";
  vocabulary->add_space_prefix = *adds_space;
  FillScores(spec.bpe, vocabulary);
  return OkStatus();
}

}  // namespace

Result<GgufVocabulary> GgufFromSpec(const TokenizerSpec& spec, int vocab_size,
                                    const std::string& name) {
  GgufVocabulary vocabulary;
  NPUMOE_RETURN_IF_ERROR(FillTokens(spec, vocab_size, name, &vocabulary));
  NPUMOE_RETURN_IF_ERROR(FillFrame(spec, name, &vocabulary));
  const bool is_byte_level = spec.bpe.symbols == BpeSymbols::kBytes;
  NPUMOE_RETURN_IF_ERROR(is_byte_level ? FillByteLevel(spec, name, &vocabulary)
                                       : FillSentencePiece(spec, name, &vocabulary));
  return vocabulary;
}

}  // namespace npumoe
