// The byte-level alphabet: tokenizer.json spells each of the 256 bytes as one printable
// character ("Ġ" is the space). Inside the engine tokens are plain bytes; only here and in the
// file do the spellings exist.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace npumoe {

// The byte that `code` spells; none: the character is not of the alphabet.
std::optional<uint8_t> ByteOfAlphabet(char32_t code);

// The bytes of a token spelled in the alphabet; none when a character is not of it. The
// spelling is valid UTF-8.
std::optional<std::string> BytesOfSpelling(std::string_view spelling);

}  // namespace npumoe
