// Tokenizer: text to ids and back, from Hugging Face's tokenizer.json or a GGUF's metadata:
// byte-level BPE, and SentencePiece's BPE with byte fallback.
//
// Encode gives the same ids as the `tokenizers` package with add_special_tokens = false. Input is
// UTF-8; invalid UTF-8 is an error that names the byte offset. Linear in the length of the text.
// Immutable after loading, so any number of threads may use one. The parts (file formats, byte
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
#include "model/tokenizer/gguf_vocabulary.h"
#include "model/tokenizer/text_assembler.h"
#include "model/tokenizer/text_range.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

// Whether a special token's spelling inside the text becomes that token (a prompt that we
// rendered) or stays plain text (what a user typed: it can never become a control token).
enum class SpecialTokens { kParse, kAsText };
// Whether Decode prints special tokens or leaves them out.
enum class DecodeSpecial { kKeep, kSkip };

class Tokenizer {
 public:
  // A tokenizer.json, or a folder that has one; a tokenizer_config.json beside it counts too.
  static Result<std::shared_ptr<const Tokenizer>> Load(const std::filesystem::path& path);
  static Result<std::shared_ptr<const Tokenizer>> FromJson(std::string_view text,
                                                           const std::string& name);
  static Result<std::shared_ptr<const Tokenizer>> FromGguf(const GgufVocabulary& vocabulary,
                                                           const std::string& name);
  // `name` starts every message; `hash` identifies where the spec came from.
  static Result<std::shared_ptr<const Tokenizer>> FromSpec(const TokenizerSpec& spec,
                                                           const std::string& name,
                                                           std::string hash);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  Result<std::vector<int32_t>> Encode(std::string_view text, SpecialTokens special) const;
  // The ids of the whole text, in which a special token counts only where all of it lies inside
  // one of the ranges of `control` (ascending, disjoint, at borders of characters). Where the rest
  // spells no special token these are the ids of Encode(text, kParse): pieces run across the
  // borders of ranges. Only normalization does not (a combining mark stays with its side).
  // `also_control`: added tokens that the file does not call special, to be treated as if it did.
  Result<std::vector<int32_t>> EncodeWithControl(std::string_view text,
                                                 std::span<const TextRange> control,
                                                 std::span<const int32_t> also_control = {}) const;
  // A text that is completed as it stands: Encode between prefix_ids() and suffix_ids(), as
  // add_special_tokens = true gives it. A text that spells its prefix itself does not get it twice.
  Result<std::vector<int32_t>> EncodePrompt(std::string_view text, SpecialTokens special) const;
  // Bytes that do not form valid UTF-8 become U+FFFD, as the reference decoder does. Ids outside
  // the vocabulary are errors; an id below vocab_size() that stands for nothing gives nothing.
  Result<std::string> Decode(std::span<const int32_t> ids, DecodeSpecial special) const;
  // The raw bytes of one token, for streaming (a character may be split over tokens).
  Result<std::string> TokenBytes(int32_t id) const;

  int vocab_size() const;  // largest id + 1
  bool IsSpecial(int32_t id) const;
  std::optional<int32_t> TokenId(std::string_view token) const;  // of its exact spelling
  const std::string& hash() const;                               // of the file's bytes

  // What the files put before and behind a text (BOS, EOS); for most models nothing.
  std::span<const int32_t> prefix_ids() const;
  std::span<const int32_t> suffix_ids() const;
  // Spellings of the tokens that begin and end texts; empty: the files do not say.
  const std::string& bos_token() const;
  const std::string& eos_token() const;

 private:
  friend class StreamDecoder;
  const DecoderSpec& decoder() const;
  bool IsFallbackByte(int32_t id) const;

  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Turns a stream of tokens into text that is always whole characters: bytes of an unfinished
// character wait for the next token. (After byte fallback they wait for a token that is no byte:
// until then the reference may still call all of them broken.) All parts joined are what Decode
// gives for all ids.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, DecodeSpecial special)
      : tokenizer_(tokenizer), special_(special), assembler_(tokenizer.decoder()) {}
  Result<std::string> Add(int32_t id);  // text that is complete now, may be empty
  std::string Finish();                 // what is left, U+FFFD for broken bytes

 private:
  const Tokenizer& tokenizer_;
  DecodeSpecial special_;
  TextAssembler assembler_;
};

}  // namespace npumoe
