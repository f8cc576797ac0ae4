#include "model/tokenizer/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "model/tokenizer/utf8.h"
#include "model/tokenizer/white_space.h"

namespace npumoe {
namespace {

// The reference's \w: letters, marks, decimal digits, letter numbers, connectors, joiners, and
// the circled and squared letters that Unicode calls alphabetic.
bool IsWordCharacter(char32_t code) {
  if (code == 0x200C || code == 0x200D) return true;
  if ((code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
      (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189)) {
    return true;
  }
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(const std::vector<AddedToken>& tokens)
    : tokens_(tokens), nodes_(1) {
  for (size_t i = 0; i < tokens_.size(); ++i) Insert(static_cast<int32_t>(i));
  for (int byte = 0; byte < 256; ++byte) {
    first_nodes_[static_cast<size_t>(byte)] = Child(0, static_cast<char>(byte));
  }
}

int32_t AddedTokenMatcher::Child(int32_t node, char byte) const {
  int32_t child = nodes_[static_cast<size_t>(node)].first_child;
  while (child >= 0 && nodes_[static_cast<size_t>(child)].byte != byte) {
    child = nodes_[static_cast<size_t>(child)].next_sibling;
  }
  return child;
}

void AddedTokenMatcher::Insert(int32_t token) {
  int32_t node = 0;
  for (const char byte : tokens_[static_cast<size_t>(token)].content) {
    int32_t child = Child(node, byte);
    if (child < 0) {
      child = static_cast<int32_t>(nodes_.size());
      nodes_.push_back({-1, nodes_[static_cast<size_t>(node)].first_child, -1, byte});
      nodes_[static_cast<size_t>(node)].first_child = child;
    }
    node = child;
  }
  nodes_[static_cast<size_t>(node)].token = token;
}

AddedTokenMatcher::Candidate AddedTokenMatcher::LongestAt(
    std::string_view text, size_t begin, const TextRange* control,
    std::span<const int32_t> also_tokens) const {
  Candidate best;
  int32_t node = first_nodes_[static_cast<uint8_t>(text[begin])];
  for (size_t end = begin + 1; node >= 0; ++end) {
    if (const int32_t token = nodes_[static_cast<size_t>(node)].token; token >= 0) {
      const AddedToken& added = tokens_[static_cast<size_t>(token)];
      const bool is_control =
          added.special || std::ranges::find(also_tokens, added.id) != also_tokens.end();
      const bool in_control = control != nullptr && begin >= control->begin && end <= control->end;
      if (!is_control || in_control) {
        best.token = token;
        best.end = end;
      } else {
        best.refused_end = end;
      }
    }
    if (end == text.size()) break;
    node = Child(node, text[end]);
  }
  // As in the reference a refused match hides shorter ones, but not those of control text.
  const bool starts_in_control = control != nullptr && control->begin <= begin;
  if (!starts_in_control && best.refused_end > best.end) best.token = -1;
  return best;
}

// Where to go on when nothing at `begin` counts: behind what was refused, as in the reference,
// but never beyond the beginning of the next control range.
size_t AddedTokenMatcher::AfterRefused(const Candidate& refused, size_t begin,
                                       const TextRange* control) {
  const size_t next = std::max(refused.refused_end, begin + 1);
  if (control == nullptr) return next;
  return control->begin > begin ? std::min(next, control->begin) : begin + 1;
}

bool AddedTokenMatcher::IsSingleWord(std::string_view text, size_t begin, size_t end) const {
  const auto is_word_at = [&](size_t at) { return IsWordCharacter(ReadUtf8(text, at).code); };
  if (begin > 0 && is_word_at(PreviousCharacter(text, begin))) return false;
  return end == text.size() || !is_word_at(end);
}

AddedTokenMatch AddedTokenMatcher::WithStripped(std::string_view text, const Candidate& found,
                                                size_t begin, size_t last_end) const {
  const AddedToken& token = tokens_[static_cast<size_t>(found.token)];
  AddedTokenMatch match{begin, found.end, token.id};
  if (token.strip_left) match.begin = SkipWhiteSpaceBack(text, begin, last_end);
  if (token.strip_right) match.end = SkipWhiteSpace(text, found.end);
  return match;
}

std::vector<AddedTokenMatch> AddedTokenMatcher::Find(std::string_view text,
                                                     const ControlScope& scope) const {
  std::vector<AddedTokenMatch> matches;
  const std::span<const TextRange> control = scope.ranges;
  auto range = control.begin();  // the first that does not end before the current place
  for (size_t begin = 0; begin < text.size();) {
    if (first_nodes_[static_cast<uint8_t>(text[begin])] < 0) {
      ++begin;
      continue;
    }
    while (range != control.end() && range->end <= begin) ++range;
    const TextRange* next_control = range == control.end() ? nullptr : &*range;
    const Candidate found = LongestAt(text, begin, next_control, scope.also_tokens);
    if (found.token < 0) {
      begin = AfterRefused(found, begin, next_control);
      continue;
    }
    const bool must_stand_alone = tokens_[static_cast<size_t>(found.token)].single_word;
    if (!must_stand_alone || IsSingleWord(text, begin, found.end)) {
      matches.push_back(WithStripped(text, found, begin, matches.empty() ? 0 : matches.back().end));
    }
    begin = found.end;
  }
  return matches;
}

}  // namespace npumoe
