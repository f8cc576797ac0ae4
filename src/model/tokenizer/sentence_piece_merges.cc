#include "model/tokenizer/sentence_piece_merges.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <unordered_set>

namespace npumoe {
namespace {

// Every token is tried at each of its borders, which costs its length squared. Chosen: thousands
// of times what vocabularies in use need (32,000 tokens of 7 bytes), and still seconds.
constexpr uint64_t kMaxSplitBytes = uint64_t{1} << 31;

Status CheckScores(const GgufVocabulary& vocabulary, const std::string& name) {
  const std::string field = name + ": field 'tokenizer.ggml.scores': ";
  if (vocabulary.scores.size() != vocabulary.tokens.size()) {
    return InvalidInput(field + "it has " + std::to_string(vocabulary.scores.size()) +
                        " scores, one for each of the " + std::to_string(vocabulary.tokens.size()) +
                        " tokens is needed (tokenizer.ggml.model 'llama')");
  }
  for (size_t id = 0; id < vocabulary.scores.size(); ++id) {
    if (std::isfinite(vocabulary.scores[id])) continue;
    return InvalidInput(field + "the score of token " + std::to_string(id) +
                        " is not a finite number");
  }
  return OkStatus();
}

bool IsNormal(const GgufVocabulary& vocabulary, size_t id) {
  return vocabulary.types.empty() ||
         vocabulary.types[id] == static_cast<int32_t>(GgufTokenType::kNormal);
}

Status CheckLengths(const GgufVocabulary& vocabulary, const std::string& name) {
  uint64_t split_bytes = 0;
  for (const std::string& token : vocabulary.tokens) {
    split_bytes += uint64_t{token.size()} * token.size();
    if (token.size() > kMaxAddedTokenBytes || split_bytes > kMaxSplitBytes) {
      return InvalidInput(name + ": field 'tokenizer.ggml.tokens': a token of " +
                          std::to_string(token.size()) + " bytes; allowed are " +
                          std::to_string(kMaxAddedTokenBytes) +
                          ", and fewer where many are so long");
    }
  }
  return OkStatus();
}

bool IsCharacterBegin(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

Status AddSentencePieceMerges(const GgufVocabulary& vocabulary, const std::string& name,
                              BpeSpec* bpe) {
  NPUMOE_RETURN_IF_ERROR(CheckScores(vocabulary, name));
  NPUMOE_RETURN_IF_ERROR(CheckLengths(vocabulary, name));
  std::unordered_set<std::string_view> normal;
  std::vector<float> scores;  // best first, each once: the place is the rank
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!IsNormal(vocabulary, id)) continue;
    normal.insert(vocabulary.tokens[id]);
    scores.push_back(vocabulary.scores[id]);
  }
  std::ranges::sort(scores, std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!IsNormal(vocabulary, id)) continue;
    const std::string_view token = vocabulary.tokens[id];
    const auto rank =
        std::ranges::lower_bound(scores, vocabulary.scores[id], std::greater<>()) - scores.begin();
    for (size_t at = 1; at < token.size(); ++at) {
      if (!IsCharacterBegin(token[at])) continue;
      const std::string_view left = token.substr(0, at);
      const std::string_view right = token.substr(at);
      if (!normal.contains(left) || !normal.contains(right)) continue;
      bpe->merges.emplace_back(left, right);
      bpe->merge_ranks.push_back(static_cast<uint32_t>(rank));
    }
  }
  return OkStatus();
}

}  // namespace npumoe
