#include "model/tokenizer/white_space.h"

#include <algorithm>

#include "model/tokenizer/utf8.h"

namespace npumoe {

bool IsWhiteSpace(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

size_t PreviousCharacter(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

size_t SkipWhiteSpaceBack(std::string_view text, size_t end, size_t floor) {
  while (end > floor) {
    const size_t begin = PreviousCharacter(text, end);
    if (!IsWhiteSpace(ReadUtf8(text, begin).code)) break;
    end = begin;
  }
  return std::max(end, floor);
}

size_t SkipWhiteSpace(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const Utf8Step step = ReadUtf8(text, begin);
    if (!IsWhiteSpace(step.code)) break;
    begin += step.bytes;
  }
  return begin;
}

}  // namespace npumoe
