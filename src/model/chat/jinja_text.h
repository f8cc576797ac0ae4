// What a Jinja template can print by itself: its string literals and the text between its tags.
// Two templates that print the same pieces and use the same switches render alike however their
// authors indent them or name their variables, so this is what templates are recognised by.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

namespace npumoe {

struct JinjaText {
  std::set<std::string> literals;  // of {{ }} and {% %}, escapes resolved
  std::set<std::string> names;     // identifiers outside of literals
  std::string outside;             // the text between tags, joined
  // All tags without comments: their tokens with single spaces between, literals in '...'.
  // ("{% if a == 'b' %}{{ c }}")
  std::string code;

  bool HasLiterals(std::initializer_list<std::string_view> wanted) const;
  // Every literal is one of these.
  bool HasOnlyLiterals(std::initializer_list<std::string_view> known) const;
  bool HasNames(std::initializer_list<std::string_view> wanted) const;
  bool HasCode(std::string_view part) const { return code.find(part) != code.npos; }
  bool HasBlankOutside() const { return outside.find_first_not_of(" \n") == outside.npos; }
};

// Never fails: broken templates give pieces that match no known one.
JinjaText ReadJinjaText(std::string_view source);

}  // namespace npumoe
