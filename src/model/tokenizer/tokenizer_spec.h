// A tokenizer as data, whichever file it comes from: tokenizer.json (tokenizer_json.h) or the
// metadata of a GGUF (gguf_vocabulary.h). What the numbers mean together (merges of known tokens,
// ids that collide) is for vocabulary.cc and bpe.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace npumoe {

// Largest id that is accepted, chosen: about sixteen times the largest vocabulary in use
// (262,144), and a table of so many entries is still small.
inline constexpr int32_t kMaxTokenId = (1 << 22) - 1;

// Bounds the work of looking for added tokens at each place of a text. Chosen: ten times the
// longest in use.
inline constexpr size_t kMaxAddedTokenBytes = 1024;

// SentencePiece's visible space, U+2581.
inline constexpr char kVisibleSpace[] = "\xE2\x96\x81";

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool normalized = false;   // matched on the normalized text, otherwise on the raw text
  bool single_word = false;  // only where no word character stands beside it
  bool strip_left = false;   // swallows white space before it
  bool strip_right = false;  // and behind it
  // Its content is what it decodes to (GGUF, as llama.cpp decodes it). Otherwise it is decoded like
  // any token, so that one whose letters are all of the byte-level alphabet becomes their bytes:
  // what the reference does with tokenizer.json, where 'ü' becomes the broken byte FC.
  bool is_literal = false;
  bool operator==(const AddedToken&) const = default;
};

struct NfcNormalizer {};
struct NfkcNormalizer {};
// Puts `text` before every text that is not empty.
struct PrependNormalizer {
  std::string text;
};
struct ReplaceNormalizer {
  std::string pattern;  // not empty; literal
  std::string content;
};
// Takes white space off the ends.
struct StripNormalizer {
  bool left = true;
  bool right = true;
};
using NormalizerStep = std::variant<NfcNormalizer, NfkcNormalizer, PrependNormalizer,
                                    ReplaceNormalizer, StripNormalizer>;

// Cuts the text at every match; matches and what lies between them are pieces ("Isolated").
struct SplitStep {
  enum class Kind { kRegex, kLiteral };
  Kind kind = Kind::kRegex;
  std::string pattern;
  bool operator==(const SplitStep&) const = default;
};
struct ByteLevelStep {
  bool add_prefix_space = false;  // each piece that does not begin with a space gets one
  bool use_regex = false;         // cuts with GPT-2's pattern
  bool operator==(const ByteLevelStep&) const = default;
};
// Spaces become `replacement`; one is put before the text.
struct MetaspaceStep {
  enum class Prepend { kAlways, kFirst, kNever };  // kFirst: only where the whole text begins
  std::string replacement = kVisibleSpace;
  Prepend prepend = Prepend::kAlways;
  bool split = true;  // every replacement begins a piece
  bool operator==(const MetaspaceStep&) const = default;
};
using PreTokenizerStep = std::variant<SplitStep, ByteLevelStep, MetaspaceStep>;

// What BPE starts from: single bytes, spelled in the byte-level alphabet; or characters, where a
// character that the vocabulary lacks falls back to its bytes ("<0x0A>").
enum class BpeSymbols { kBytes, kCharacters };

struct BpeSpec {
  BpeSymbols symbols = BpeSymbols::kBytes;
  std::vector<std::pair<std::string, int32_t>> vocabulary;  // spelling, id
  std::vector<std::pair<std::string, std::string>> merges;  // best first
  // Empty: merge i has rank i. Else one for each merge; of equal ranks the leftmost merges first.
  std::vector<uint32_t> merge_ranks;
  bool ignore_merges = false;  // a piece that is a token as a whole becomes that token
  bool byte_fallback = false;
  bool fuse_unknown = false;  // unknown characters side by side become one unknown token
  std::string unknown_token;  // empty: none
  // What messages call these lists.
  std::string vocabulary_field = "model.vocab";
  std::string merges_field = "model.merges";
};

// How the spellings of tokens become text.
struct DecoderSpec {
  enum class Kind {
    kByteLevel,  // through the byte-level alphabet
    kSpellings,  // as they stand, after `replacements`
  };
  Kind kind = Kind::kByteLevel;
  // The rest is for kSpellings.
  std::vector<ReplaceNormalizer> replacements;  // in each token
  bool byte_fallback = false;                   // "<0x0A>" is that byte
  std::string strip_content;                    // taken off the beginning of the whole text,
  int strip_start = 0;                          // up to so many times
};

struct TokenizerSpec {
  BpeSpec bpe;
  std::vector<AddedToken> added_tokens;
  std::vector<NormalizerStep> normalizers;
  // kBytes: the last, and only it, is a ByteLevelStep. kCharacters: none or a MetaspaceStep.
  std::vector<PreTokenizerStep> pre_tokenizers;
  DecoderSpec decoder;
  // What stands before and behind every text that a model reads (BOS, EOS); often nothing.
  std::vector<int32_t> prefix_ids, suffix_ids;
  // Spellings of the tokens that begin and end texts; empty: unknown.
  std::string bos_token, eos_token;
};

}  // namespace npumoe
