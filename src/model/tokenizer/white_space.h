// White space of Unicode, for what strips it off the ends of texts and tokens.
#pragma once

#include <cstddef>
#include <string_view>

namespace npumoe {

// White_Space of Unicode, as the reference's \s and its trimming.
bool IsWhiteSpace(char32_t code);

// Begin of the character that ends at `end` > 0. The text is valid UTF-8.
size_t PreviousCharacter(std::string_view text, size_t end);

// Where the white space that begins at `begin` ends.
size_t SkipWhiteSpace(std::string_view text, size_t begin);
// Where the white space that ends at `end` begins, not before `floor`.
size_t SkipWhiteSpaceBack(std::string_view text, size_t end, size_t floor);

}  // namespace npumoe
