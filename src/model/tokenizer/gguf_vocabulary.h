// A tokenizer as GGUF metadata states it (`tokenizer.ggml.*`), to and from the TokenizerSpec that
// everything else works with. Reading the metadata itself is model/gguf.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

// tokenizer.ggml.token_type; other values mean nothing here.
enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct GgufVocabulary {
  std::string model;  // tokenizer.ggml.model: "gpt2" (byte-level BPE) or "llama" (SentencePiece)
  std::string pre;    // tokenizer.ggml.pre: the pattern's name, "qwen2", "llama-bpe", ...; or empty
  std::vector<std::string> tokens;
  std::vector<float> scores;        // empty or one per token ("llama")
  std::vector<int32_t> types;       // empty or one per token: GgufTokenType
  std::vector<std::string> merges;  // "left right", best first ("gpt2")
  std::optional<int32_t> bos_id, eos_id, unknown_id, padding_id;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
};

// Of everything that the ids depend on.
std::string HashOf(const GgufVocabulary& vocabulary);

// `name` starts every message. An unknown model or pattern name lists the known ones.
Result<TokenizerSpec> SpecFromGguf(const GgufVocabulary& vocabulary, const std::string& name);
// What other engines need to find the same ids. `vocab_size` of the model: missing ids up to it
// become unused tokens. Fails where no pattern name of GGUF stands for this tokenizer.
Result<GgufVocabulary> GgufFromSpec(const TokenizerSpec& spec, int vocab_size,
                                    const std::string& name);

}  // namespace npumoe
