// Unicode normalization of text before it is cut into pieces: NFC and NFKC as the reference does
// them, which means by Unicode 9 (unicode_versions.h).
#pragma once

#include <string>
#include <string_view>

namespace npumoe {

// False: the text is its own NFC for sure (all below U+0300); no copy is needed.
bool MayChangeInNfc(std::string_view text);
bool MayChangeInNfkc(std::string_view text);

// The text is valid UTF-8. Linear in its length but for sorting long runs of combining marks.
std::string Nfc(std::string_view text);
std::string Nfkc(std::string_view text);

}  // namespace npumoe
