// Characters whose treatment depends on the version of Unicode, and what the reference does.
//
// The `tokenizers` package classifies characters in patterns by Unicode 16 (Oniguruma) and
// normalizes by Unicode 9 (its own crate). PCRE2 and utf8proc are whatever the system ships, so
// without these tables the ids of such characters would differ from machine to machine. Taken
// from the reference's behaviour over all code points (tokenizers 0.23.3).
#pragma once

#include <string>
#include <string_view>

namespace npumoe {

// The text as a pattern may see it on any version of Unicode from 14 on: every character that
// came after version 14 is replaced by an older one of the same general category and the same
// number of bytes, so that all offsets stay. Also U+180E, which PCRE2 alone calls white space.
// False: the text has none of them, and `stand_ins` is untouched. The text is valid UTF-8.
bool ReplaceRecentCharacters(std::string_view text, std::string* stand_ins);

// Whether normalization leaves the character alone because it came after Unicode 9.
bool IsInertInNormalization(char32_t code);

}  // namespace npumoe
