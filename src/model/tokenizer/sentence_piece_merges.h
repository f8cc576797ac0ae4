// The merges of SentencePiece's BPE, which a GGUF states as scores: two symbols side by side merge
// where together they spell a token; the token of the best score is made first.
#pragma once

#include <string>

#include "base/status.h"
#include "model/tokenizer/gguf_vocabulary.h"

namespace npumoe {

// Fills `merges` and `merge_ranks`. Fails for missing and for broken scores. Only normal tokens
// take part: control tokens are never made of text.
Status AddSentencePieceMerges(const GgufVocabulary& vocabulary, const std::string& name,
                              BpeSpec* bpe);

}  // namespace npumoe
