#include "model/tokenizer/word_borders.h"

#include <string>

#include "model/tokenizer/utf8.h"
#include "model/tokenizer/white_space.h"

namespace npumoe {

WordBorders::WordBorders(const BpeSpec& spec) {
  if (spec.symbols != BpeSymbols::kCharacters) return;
  for (const auto& [spelling, id] : spec.vocabulary) cuts_ |= spelling == kVisibleSpace;
  const std::string_view space = kVisibleSpace;
  for (const auto& [left, right] : spec.merges) {
    const std::string merged = left + right;
    for (size_t at = merged.find(space, 1); at != merged.npos; at = merged.find(space, at + 1)) {
      joined_.insert(ReadUtf8(merged, PreviousCharacter(merged, at)).code);
    }
  }
}

size_t WordBorders::FirstWordBytes(std::string_view text) const {
  if (!cuts_) return text.size();
  for (size_t at = text.find(kVisibleSpace, 1); at != text.npos;
       at = text.find(kVisibleSpace, at + 1)) {
    if (!joined_.contains(ReadUtf8(text, PreviousCharacter(text, at)).code)) return at;
  }
  return text.size();
}

}  // namespace npumoe
