// Which differences between templates count, by the rules that transformers gives Jinja.
#include "model/chat/jinja_tokens.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace npumoe {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

void ExpectEqual(const Pairs& pairs) {
  for (const auto& [a, b] : pairs) {
    ASSERT_TRUE(JinjaTokens(a).has_value()) << a;
    EXPECT_EQ(JinjaTokens(a), JinjaTokens(b)) << a << "\n" << b;
  }
}

void ExpectDifferent(const Pairs& pairs) {
  for (const auto& [a, b] : pairs) EXPECT_NE(JinjaTokens(a), JinjaTokens(b)) << a << "\n" << b;
}

TEST(JinjaTokens, WhiteSpaceInsideOfTagsDoesNotCount) {
  ExpectEqual(
      {{"{{a}}", "{{ a\n}}"}, {"{% if a==b %}", "{%if a == b%}"}, {"{{ a [0] }}", "{{ a[ 0 ] }}"}});
  ExpectDifferent({{"{{ a b }}", "{{ ab }}"},
                   {"{{ 'a b' }}", "{{ 'a  b' }}"},
                   {"{{ a = = b }}", "{{ a == b }}"}});
}

TEST(JinjaTokens, QuotesAndEscapesOfLiteralsDoNotCount) {
  ExpectEqual({{"{{ 'a' }}", "{{ \"a\" }}"},
               {"{{ 'a\\n' }}", "{{ 'a\n' }}"},
               {"{{ 'it\\'s' }}", "{{ \"it's\" }}"}});
  ExpectDifferent({{"{{ 'a' }}", "{{ a }}"},
                   {"{{ '\\\\n' }}", "{{ '\\n' }}"},
                   {"{{ '\\x41' }}", "{{ '\\\\x41' }}"},
                   {"{{ 'a' 'b' }}", "{{ 'ab' }}"}});
}

TEST(JinjaTokens, CommentsDoNotCount) {
  ExpectEqual({{"a{# b #}c", "ac"}, {"a\n  {# b #}\nc", "a\nc"}, {"a {#- b -#} c", "ac"}});
  ExpectDifferent({{"a {# b #} c", "ac"}, {"a{# b +#}\nc", "ac"}});
}

TEST(JinjaTokens, TheLineEndBehindABlockDoesNotCount) {
  ExpectEqual({{"{% if a %}\nb", "{% if a %}b"}, {"{% if a -%}\n \n b", "{% if a %}b"}});
  ExpectDifferent({{"{% if a %}\n\nb", "{% if a %}b"},
                   {"{% if a +%}\nb", "{% if a %}b"},
                   {"{{ a }}\nb", "{{ a }}b"}});
}

TEST(JinjaTokens, TheIndentationOfABlockDoesNotCount) {
  ExpectEqual({{"a\n  {% if b %}", "a\n{% if b %}"},
               {"  {% if b %}", "{% if b %}"},
               {"{% if a %}\n  {% if b %}", "{% if a %}{% if b %}"}});
  ExpectDifferent({{"a\n  {%+ if b %}", "a\n{% if b %}"},
                   {"a  {% if b %}", "a{% if b %}"},
                   {"a\n  {{ b }}", "a\n{{ b }}"},
                   {"{{ a }}  {% if b %}", "{{ a }}{% if b %}"}});
}

TEST(JinjaTokens, MarksThatStripNothingDoNotCount) {
  ExpectEqual({{"{%- if a -%}b{%- endif -%}", "{% if a %}b{% endif %}"},
               {"{{- a -}}", "{{ a }}"},
               {"b \n{{- a }}", "b{{ a }}"}});
  ExpectDifferent({{"b {{- a }}", "b {{ a }}"}, {"{{ a -}} b", "{{ a }} b"}});
}

TEST(JinjaTokens, LineEndsOfEveryKindAreTheSameAndTheLastDoesNotCount) {
  ExpectEqual({{"a\r\nb\rc\n", "a\nb\nc"}, {"{{ a }}\n", "{{ a }}"}});
  ExpectDifferent({{"{{ a }}\n\n", "{{ a }}"}, {"{{ a }} ", "{{ a }}"}});
}

TEST(JinjaTokens, BracketsInsideOfTagsDoNotEndThem) {
  ExpectDifferent({{"{{ {'a': {}} }}b", "{{ {'a': {} }}"}});
  ExpectEqual({{"{{ {'a': {}}}}b", "{{ {'a': {}} }}b"}});
  EXPECT_TRUE(JinjaTokens("{{ '}}' }}").has_value());
}

TEST(JinjaTokens, TextThatLooksLikeTokensIsNotTakenForThem) {
  ExpectDifferent({{"n1:a", "{{ a }}"}, {"{{ 'a' }}", "{{ 's1:a' }}"}});
}

TEST(JinjaTokens, ThereAreNoneOfBrokenTags) {
  for (const char* source :
       {"{{", "{%", "{#", "{{ a", "{% if 'a %}", "{# a", "{{ 'a\\", "{{ ) }}", "{{ (a }}",
        "{{ a ? b }}", "{{ a & b }}", "{%- if a -% }", "{{-", "{%+"}) {
    EXPECT_FALSE(JinjaTokens(source).has_value()) << source;
  }
  EXPECT_EQ(JinjaTokens(""), "");
}

}  // namespace
}  // namespace npumoe
