// Rewrites a pattern of the reference's engine (Oniguruma, Ruby syntax) so that PCRE2 matches
// the same. Only what means the same in both, or can be rewritten, passes; the rest is refused
// by name (\h is a hexadecimal digit there and a blank here, [a[bc]] nests there, ...).
//
// Not covered: Oniguruma's case-insensitive match of one character against two ("ss" and "ß").
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace npumoe {

// The result is for PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE with LF as the only newline. `name`
// starts every message.
Result<std::string> TranslateOnigurumaPattern(std::string_view pattern, const std::string& name);

}  // namespace npumoe
