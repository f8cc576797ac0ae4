// What holds for every tokenizer and every text, whatever file the tokenizer comes from.
#pragma once

#include <string>
#include <string_view>

#include "model/tokenizer.h"

namespace npumoe::fuzz {

// Encodes and decodes `text` in every mode. A text that the tokenizer refuses (broken UTF-8) is
// left alone. `unknown_token`: what characters that the vocabulary lacks become (TokenizerSpec);
// the one special token that text may give.
void CheckTokenizer(const Tokenizer& tokenizer, const std::string& unknown_token,
                    std::string_view text);

}  // namespace npumoe::fuzz
