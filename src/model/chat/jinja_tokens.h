// A Jinja template as the tokens that decide what it renders: text that reaches the output, and
// the names, literals and operators of its tags. Two sources with the same tokens render alike;
// indentation, quotes, comments, line ends and marks that strip nothing make no difference.
//
// White space is treated as transformers has Jinja do it (trim_blocks and lstrip_blocks on,
// keep_trailing_newline off). Nothing is parsed or run.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace npumoe {

// The tokens one after the other, each with its kind and length, so that different ones never join
// to the same text. None: a tag, bracket or literal does not end, or a tag has a character that
// Jinja does not know.
std::optional<std::string> JinjaTokens(std::string_view source);

}  // namespace npumoe
