// The published chat templates that are known, as data. A template is one of them when all of its
// tokens are the same (jinja_tokens.h); any other, however similar, may render something else and
// is unknown.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace npumoe {

struct KnownTemplate {
  std::string_view hash;                 // FingerprintOfTemplate
  std::string_view format;               // in formats.cc's table
  int style = 0;                         // the format's own
  std::string_view default_system = {};  // the system message of conversations that bring none
  std::string_view source = {};          // a model that has it, and where its text was compared
};

std::span<const KnownTemplate> KnownTemplates();

// Null: none of them.
const KnownTemplate* FindKnownTemplate(std::string_view jinja_source);

// Equal for templates with the same tokens. Empty: the source is not made of whole tags.
std::string FingerprintOfTemplate(std::string_view jinja_source);

}  // namespace npumoe
