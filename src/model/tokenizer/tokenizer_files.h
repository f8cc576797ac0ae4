// The files of a model's folder that make its tokenizer: tokenizer.json, and what the
// tokenizer_config.json beside it adds: the tokens that begin and end texts, and whether they are
// put there.
#pragma once

#include <filesystem>
#include <string>

#include "base/status.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

struct TokenizerFiles {
  TokenizerSpec spec;
  std::string name;  // path of tokenizer.json
  std::string hash;  // of its bytes
};

// `path`: a tokenizer.json, or a folder that has one. As transformers does it, `add_bos_token` and
// `add_eos_token` count for the classes derived from Llama's only; all others do what
// tokenizer.json's post-processor says.
Result<TokenizerFiles> ReadTokenizerFiles(const std::filesystem::path& path);

}  // namespace npumoe
