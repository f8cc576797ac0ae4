// The steps of tokenizer.json that frame BPE: normalizer, pre-tokenizer, decoder, post-processor.
// What this build does not do is refused by name, with what it does.
#pragma once

#include "base/json.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

Status ReadNormalizer(const JsonObject& root, TokenizerSpec* spec);
// Also decides what BPE starts from: bytes where the last step is ByteLevel, else characters.
Status ReadPreTokenizer(const JsonObject& root, TokenizerSpec* spec);
// The decoder must be that of `spec.bpe.symbols`.
Status ReadDecoder(const JsonObject& root, TokenizerSpec* spec);
// The ids that stand before and behind every text; whether they exist is checked elsewhere.
Status ReadPostProcessor(const JsonObject& root, TokenizerSpec* spec);

}  // namespace npumoe
