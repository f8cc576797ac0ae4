// WordBorders: where text for BPE over characters may be cut beforehand without changing its ids.
//
// Without a pre-tokenizer the whole text is one piece, which is slow and cannot be cached. But no
// merge joins two characters that stand side by side in no merged token; in SentencePiece
// vocabularies that holds for nearly every character before a visible space.
#pragma once

#include <string_view>
#include <unordered_set>

#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

class WordBorders {
 public:
  explicit WordBorders(const BpeSpec& spec);

  // Length of the first word of `text` (not empty): up to a visible space that no merge joins to
  // the character before it, or all of it.
  size_t FirstWordBytes(std::string_view text) const;

 private:
  bool cuts_ = false;                    // the visible space is a token of its own
  std::unordered_set<char32_t> joined_;  // characters that some merge joins to a space behind
};

}  // namespace npumoe
