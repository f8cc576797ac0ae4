// What holds for every tokenizer and every text, whatever file the tokenizer comes from.
#pragma once

#include <string_view>

#include "model/tokenizer.h"

namespace npumoe::fuzz {

// Encodes and decodes `text` in every mode. A text that the tokenizer refuses (broken UTF-8) is
// left alone.
void CheckTokenizer(const Tokenizer& tokenizer, std::string_view text);

}  // namespace npumoe::fuzz
