// What a Jinja template can print by itself: its string literals and the text between its tags.
// Two templates that print the same pieces and use the same switches render alike however their
// authors indent them or name their variables, so this is what templates are recognised by.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace npumoe {

struct JinjaText {
  std::set<std::string> literals;  // of {{ }} and {% %}, escapes resolved
  std::set<std::string> names;     // identifiers outside of literals
  std::string outside;             // the text between tags, joined
};

// Never fails: broken templates give pieces that match no known one.
JinjaText ReadJinjaText(std::string_view source);

}  // namespace npumoe
