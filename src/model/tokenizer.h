// Tokenizer: text to ids and back, from Hugging Face's tokenizer.json (byte-level BPE).
//
// Encode gives the same ids as the `tokenizers` package with add_special_tokens = false. Input is
// UTF-8; invalid UTF-8 is an error that names the byte offset. Linear in the length of the text.
// Immutable after loading, so any number of threads may use one. The parts (file format, byte
// alphabet, normalizer, pre-tokenizer, merges, added tokens) are in tokenizer/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace npumoe {

// Whether a special token's spelling inside the text becomes that token (a prompt that we
// rendered) or stays plain text (what a user typed: it can never become a control token).
enum class SpecialTokens { kParse, kAsText };
// Whether Decode prints special tokens or leaves them out.
enum class DecodeSpecial { kKeep, kSkip };

// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin = 0;
  size_t end = 0;
};

class Tokenizer {
 public:
  // A tokenizer.json, or a folder that has one.
  static Result<std::shared_ptr<const Tokenizer>> Load(const std::filesystem::path& path);
  static Result<std::shared_ptr<const Tokenizer>> FromJson(std::string_view text,
                                                           const std::string& name);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  Result<std::vector<int32_t>> Encode(std::string_view text, SpecialTokens special) const;
  // The ids of the whole text, in which a special token counts only where all of it lies inside
  // one of the ranges of `control` (ascending, disjoint, at borders of characters). Where the rest
  // spells no special token these are the ids of Encode(text, kParse): pieces run across the
  // borders of ranges. Only normalization does not (a combining mark stays with its side).
  Result<std::vector<int32_t>> EncodeWithControl(std::string_view text,
                                                 std::span<const TextRange> control) const;
  // Bytes that do not form valid UTF-8 become U+FFFD, as the reference decoder does. Ids outside
  // the vocabulary are errors; an id below vocab_size() that stands for nothing gives nothing.
  Result<std::string> Decode(std::span<const int32_t> ids, DecodeSpecial special) const;
  // The raw bytes of one token, for streaming (a character may be split over tokens).
  Result<std::string> TokenBytes(int32_t id) const;

  int vocab_size() const;  // largest id + 1
  bool IsSpecial(int32_t id) const;
  std::optional<int32_t> TokenId(std::string_view token) const;  // of its exact spelling
  const std::string& hash() const;                               // of the file's bytes

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Turns a stream of tokens into text that is always whole characters: bytes of an unfinished
// character wait for the next token. All parts joined are what Decode gives for all ids.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, DecodeSpecial special)
      : tokenizer_(tokenizer), special_(special) {}
  Result<std::string> Add(int32_t id);  // text that is complete now, may be empty
  std::string Finish();                 // what is left, U+FFFD for broken bytes

 private:
  const Tokenizer& tokenizer_;
  DecodeSpecial special_;
  std::string pending_;
};

}  // namespace npumoe
