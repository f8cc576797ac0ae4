// tokenizer.json as data: reads the file's fields into a TokenizerSpec and refuses, by name,
// everything that would change ids and that this build does not do. What the numbers mean
// together (merges of known tokens, ids that collide) is for vocabulary.cc and bpe.cc.
//
// Later kinds of tokenizer (SentencePiece-style BPE with byte fallback, more normalizers and
// pre-tokenizers) become further alternatives of the variants below.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"

namespace npumoe {

// Largest id that is accepted, chosen: about sixteen times the largest vocabulary in use
// (262,144), and a table of so many entries is still small.
inline constexpr int32_t kMaxTokenId = (1 << 22) - 1;

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool normalized = false;   // matched on the normalized text, otherwise on the raw text
  bool single_word = false;  // only where no word character stands beside it
  bool strip_left = false;   // swallows white space before it
  bool strip_right = false;  // and behind it
};

struct NfcNormalizer {};
using NormalizerStep = std::variant<NfcNormalizer>;

// Cuts the text at every match; matches and what lies between them are pieces ("Isolated").
struct SplitStep {
  enum class Kind { kRegex, kLiteral };
  Kind kind = Kind::kRegex;
  std::string pattern;
};
struct ByteLevelStep {
  bool add_prefix_space = false;  // each piece that does not begin with a space gets one
  bool use_regex = false;         // cuts with GPT-2's pattern
};
using PreTokenizerStep = std::variant<SplitStep, ByteLevelStep>;

struct BpeSpec {
  std::vector<std::pair<std::string, int32_t>> vocabulary;  // spelling, id
  std::vector<std::pair<std::string, std::string>> merges;  // best first
  bool ignore_merges = false;  // a piece that is a token as a whole becomes that token
  // unk_token or byte_fallback are set; harmless where every byte is a token, which bpe.cc checks.
  std::string fallback_field;
};

struct TokenizerSpec {
  BpeSpec bpe;
  std::vector<AddedToken> added_tokens;
  std::vector<NormalizerStep> normalizers;
  std::vector<PreTokenizerStep> pre_tokenizers;  // the last, and only it, is a ByteLevelStep
};

// `name` (the path) starts every message.
Result<TokenizerSpec> ParseTokenizerJson(std::string_view text, const std::string& name);

}  // namespace npumoe
