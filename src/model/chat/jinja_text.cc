#include "model/chat/jinja_text.h"

#include <algorithm>
#include <cctype>

namespace npumoe {
namespace {

bool IsNameCharacter(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

std::string_view TrimRight(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) {
    text.remove_suffix(1);
  }
  return text;
}

std::string_view TrimLeft(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) {
    text.remove_prefix(1);
  }
  return text;
}

char Unescape(char c) { return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c; }

// Reads the literal whose quote stands at `position` and returns where it ends.
size_t ReadLiteral(std::string_view tag, size_t position, JinjaText* text) {
  const char quote = tag[position];
  std::string literal;
  for (++position; position < tag.size() && tag[position] != quote; ++position) {
    if (tag[position] == '\\' && position + 1 < tag.size()) {
      literal += Unescape(tag[++position]);
    } else {
      literal += tag[position];
    }
  }
  text->code += "'" + literal + "' ";
  text->literals.insert(std::move(literal));
  return position + 1;
}

// Brackets of tags lose the marks that strip white space ("{%-"); comparisons stay whole ("!=").
void ReadOperator(std::string_view tag, size_t* position, JinjaText* text) {
  const std::string_view rest = tag.substr(*position);
  const bool is_first = *position == 0;
  for (const std::string_view whole : {"{%", "{{", "%}", "}}", "==", "!=", "<=", ">="}) {
    if (!rest.starts_with(whole)) continue;
    *position += whole.size();
    text->code += std::string(whole) + " ";
    if (is_first && *position < tag.size() && (tag[*position] == '-' || tag[*position] == '+')) {
      ++*position;
    }
    return;
  }
  ++*position;
  const bool strips = (rest[0] == '-' || rest[0] == '+') &&
                      (rest.substr(1).starts_with("%}") || rest.substr(1).starts_with("}}"));
  if (strips || std::isspace(static_cast<unsigned char>(rest[0]))) return;
  text->code += std::string(1, rest[0]) + " ";
}

void ReadTag(std::string_view tag, JinjaText* text) {
  for (size_t i = 0; i < tag.size();) {
    if (tag[i] == '\'' || tag[i] == '"') {
      i = ReadLiteral(tag, i, text);
    } else if (IsNameCharacter(tag[i])) {
      const size_t begin = i;
      while (i < tag.size() && IsNameCharacter(tag[i])) ++i;
      text->names.insert(std::string(tag.substr(begin, i - begin)));
      text->code += std::string(tag.substr(begin, i - begin)) + " ";
    } else {
      ReadOperator(tag, &i, text);
    }
  }
}

// Where the tag that opens at the front of `source` ends, quotes respected.
size_t TagEnd(std::string_view source) {
  const std::string_view closing = source[1] == '{' ? "}}" : source[1] == '%' ? "%}" : "#}";
  char quote = 0;
  for (size_t i = 2; i < source.size(); ++i) {
    if (quote != 0) {
      if (source[i] == '\\')
        ++i;
      else if (source[i] == quote)
        quote = 0;
    } else if (closing != "#}" && (source[i] == '\'' || source[i] == '"')) {
      quote = source[i];
    } else if (source.substr(i).starts_with(closing)) {
      return i + closing.size();
    }
  }
  return source.size();
}

bool IsTagOpening(std::string_view source, size_t i) {
  return source[i] == '{' && i + 1 < source.size() &&
         (source[i + 1] == '{' || source[i + 1] == '%' || source[i + 1] == '#');
}

}  // namespace

bool JinjaText::HasLiterals(std::initializer_list<std::string_view> wanted) const {
  return std::ranges::all_of(
      wanted, [&](std::string_view literal) { return literals.contains(std::string(literal)); });
}

bool JinjaText::HasOnlyLiterals(std::initializer_list<std::string_view> known) const {
  return std::ranges::all_of(literals, [&](const std::string& literal) {
    return std::ranges::find(known, literal) != known.end();
  });
}

bool JinjaText::HasNames(std::initializer_list<std::string_view> wanted) const {
  return std::ranges::all_of(
      wanted, [&](std::string_view name) { return names.contains(std::string(name)); });
}

JinjaText ReadJinjaText(std::string_view source) {
  JinjaText text;
  bool trims_next = false;  // the last tag ended with "-"
  for (size_t i = 0; i < source.size();) {
    size_t opening = i;
    while (opening < source.size() && !IsTagOpening(source, opening)) ++opening;
    std::string_view between = source.substr(i, opening - i);
    if (trims_next) between = TrimLeft(between);
    if (opening == source.size()) {
      text.outside += between;
      break;
    }
    const std::string_view rest = source.substr(opening);
    const std::string_view tag = rest.substr(0, TagEnd(rest));
    const bool is_block = tag[1] != '{';
    if (tag.size() > 2 && tag[2] == '-') between = TrimRight(between);
    text.outside += between;
    if (tag[1] != '#') ReadTag(tag, &text);
    trims_next = tag.size() >= 5 && tag[tag.size() - 3] == '-';
    i = opening + tag.size();
    // Templates are rendered with `trim_blocks`: a block swallows the newline behind it.
    if (is_block && !trims_next && i < source.size() && source[i] == '\n') ++i;
  }
  return text;
}

}  // namespace npumoe
