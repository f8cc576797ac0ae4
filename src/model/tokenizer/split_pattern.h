// SplitPattern: cuts text at the matches of a pattern, with PCRE2's just-in-time compiler where
// the machine allows it. Matches and what lies between them are pieces.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace npumoe {

// What one thread needs to match: PCRE2's result block and stack. Made per call of Encode.
class PatternWorkspace {
 public:
  PatternWorkspace();
  ~PatternWorkspace();
  PatternWorkspace(const PatternWorkspace&) = delete;
  PatternWorkspace& operator=(const PatternWorkspace&) = delete;

 private:
  friend class SplitPattern;
  struct State;
  std::unique_ptr<State> state_;
};

using PieceSink = std::function<Status(std::string_view piece)>;

class SplitPattern {
 public:
  // `name` starts every message. A regex is in the syntax of oniguruma_pattern.h.
  static Result<SplitPattern> FromRegex(const std::string& regex, const std::string& name);
  static Result<SplitPattern> FromLiteral(const std::string& literal, const std::string& name);

  // Calls `sink` with every piece in order; none is empty, and joined they are `text` (valid
  // UTF-8). Ends with the first error of `sink`; fails when a match exceeds PCRE2's limits.
  Status Split(std::string_view text, PatternWorkspace* workspace, const PieceSink& sink) const;

 private:
  struct Code;
  explicit SplitPattern(std::string name) : name_(std::move(name)) {}
  static Result<SplitPattern> Compile(const std::string& pattern, uint32_t options,
                                      const std::string& name);

  std::string name_;
  std::shared_ptr<const Code> code_;
};

}  // namespace npumoe
