// UTF-8, read one step at a time. Every other file of the tokenizer works on bytes that passed
// FirstInvalidUtf8, so the rules for broken input stand only here.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace npumoe {

// U+FFFD, which stands for broken bytes.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// What stands at one position: a whole character, or the longest run of bytes that could still
// have begun one (Unicode 15, section 3.9, "maximal subpart"; Rust's from_utf8_lossy agrees).
struct Utf8Step {
  char32_t code = 0;       // valid only
  size_t bytes = 0;        // >= 1
  bool valid = false;      // a whole, well-formed character
  bool truncated = false;  // not valid, but the text ended before it could be decided
};

// Requires position < text.size().
Utf8Step ReadUtf8(std::string_view text, size_t position);

// Offset of the first byte that is not part of well-formed UTF-8; none: the text is valid.
std::optional<size_t> FirstInvalidUtf8(std::string_view text);

void AppendUtf8(char32_t code, std::string* text);

// The text with every maximal broken run replaced by one U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view bytes);

// Bytes at the end that are the beginning of a character whose rest may still come: 0 to 3.
size_t UnfinishedSuffixBytes(std::string_view bytes);

}  // namespace npumoe
