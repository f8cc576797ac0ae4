// What commands read: prompts and texts as arguments or files, token ids from --ids-file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/model.h"

namespace npumoe::cli {

// Token ids separated by white space, each within the vocabulary. The error names the position.
Result<std::vector<int32_t>> ReadIdsFile(const std::string& path, int vocab_size);

// Text to ids as it is completed: with the model's BOS and EOS where its tokenizer adds them. A
// model without a tokenizer refuses and names --ids-file.
Result<std::vector<int32_t>> EncodeText(const Model& model, const std::string& text,
                                        SpecialTokens special);

// A text file of up to 1 GiB; a pipe will do, as in -f <(command).
Result<std::string> ReadText(const std::string& path);

}  // namespace npumoe::cli
