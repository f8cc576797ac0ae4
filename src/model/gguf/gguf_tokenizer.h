// The tokenizer that a GGUF's metadata holds.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "model/gguf/gguf_metadata.h"
#include "model/tokenizer/gguf_vocabulary.h"

namespace npumoe {

// `tokenizer.ggml.*`. None: the file has no tokenizer, which is legal (also where
// tokenizer.ggml.model is "none" or "no_vocab").
Result<std::optional<GgufVocabulary>> ReadGgufVocabulary(const GgufMetadata& metadata);

// A tokenizer.json with the same tokenizer: the one that the file holds as it is, else one made of
// `tokenizer.ggml.*`. Empty: the file has no tokenizer. Fails for one that we cannot read.
Result<std::string> GgufTokenizerJson(const GgufMetadata& metadata);

}  // namespace npumoe
