// AddedTokenMatcher: finds the tokens of `added_tokens` in text, before anything else is cut.
//
// Leftmost match first, the longest of those at one place, no overlap: as the AddedVocabulary of
// the reference. Beyond the reference, special tokens count only inside given ranges, so that
// text of users cannot become a control token.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/text_range.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

struct AddedTokenMatch {
  size_t begin = 0;
  size_t end = 0;
  int32_t id = 0;
};

// What counts only where the text was not written by a user.
struct ControlScope {
  std::span<const TextRange> ranges;     // of control text: ascending, disjoint
  std::span<const int32_t> also_tokens;  // tokens that count only there, beside the special ones
};

class AddedTokenMatcher {
 public:
  // `content` of each token is the text that is looked for (normalized where that applies).
  explicit AddedTokenMatcher(const std::vector<AddedToken>& tokens);

  // Matches in the order of their places; a match begins before the end of the last one where
  // that one swallowed white space which is a token itself, as in the reference. Special tokens
  // count inside the ranges of `scope` only; others everywhere.
  std::vector<AddedTokenMatch> Find(std::string_view text, const ControlScope& scope) const;

 private:
  // One node of the trie over all contents: children are a chain of siblings.
  struct Node {
    int32_t first_child = -1;
    int32_t next_sibling = -1;
    int32_t token = -1;  // index into tokens_: a content ends here
    char byte = 0;
  };
  // The longest token at one place that counts, and the end of the longest that does not.
  struct Candidate {
    int32_t token = -1;
    size_t end = 0;
    size_t refused_end = 0;
  };

  int32_t Child(int32_t node, char byte) const;
  void Insert(int32_t token);
  // `control`: the first range that does not end before `begin`, or null.
  Candidate LongestAt(std::string_view text, size_t begin, const TextRange* control,
                      std::span<const int32_t> also_tokens) const;
  static size_t AfterRefused(const Candidate& refused, size_t begin, const TextRange* control);
  AddedTokenMatch WithStripped(std::string_view text, const Candidate& found, size_t begin,
                               size_t last_end) const;
  bool IsSingleWord(std::string_view text, size_t begin, size_t end) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;               // [0] is the root
  std::array<int32_t, 256> first_nodes_;  // child of the root by byte, -1: none
};

}  // namespace npumoe
