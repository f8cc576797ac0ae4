// tokenizer.json as data: reads the file's fields into a TokenizerSpec and refuses, by name,
// everything that would change ids and that this build does not do.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

// `name` (the path) starts every message.
Result<TokenizerSpec> ParseTokenizerJson(std::string_view text, const std::string& name);

// A tokenizer.json that reads back as this spec, for files that have none (a GGUF's tokenizer).
std::string TokenizerJsonText(const TokenizerSpec& spec);

}  // namespace npumoe
