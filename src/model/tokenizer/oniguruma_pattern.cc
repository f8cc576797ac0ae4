#include "model/tokenizer/oniguruma_pattern.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

namespace npumoe {
namespace {

constexpr std::array<std::string_view, 7> kGroupOpenings = {"(?:",  "(?i:", "(?=", "(?!",
                                                            "(?<=", "(?<!", "(?>"};

bool IsDigit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool IsPunctuation(char c) { return std::ispunct(static_cast<unsigned char>(c)) != 0; }

class Translator {
 public:
  Translator(std::string_view pattern, std::string name)
      : pattern_(pattern), name_(std::move(name)) {}

  Result<std::string> Run();

 private:
  bool AtEnd() const { return position_ >= pattern_.size(); }
  bool StartsWith(std::string_view text) const {
    return pattern_.substr(position_).starts_with(text);
  }
  void Copy(size_t count) {
    output_.append(pattern_.substr(position_, count));
    position_ += count;
  }
  Status Refuse(const std::string& what) const;
  void BeginAtom() { atom_begin_ = output_.size(); }

  Status Step();
  Status OpenGroup();
  Status CloseGroup();
  Status Class();
  Status Escape();
  Status Property();
  Status HexEscape();
  Status Quantifier();
  Status Interval();

  std::string_view pattern_;
  std::string name_;
  size_t position_ = 0;
  std::string output_;
  size_t atom_begin_ = 0;             // in output_: what a quantifier would repeat
  std::vector<size_t> group_begins_;  // in output_, of the open groups
};

Status Translator::Refuse(const std::string& what) const {
  return Unsupported(name_ + ": the pattern has " + what + " at byte " + std::to_string(position_) +
                     ", which this build cannot match as the reference does");
}

Result<std::string> Translator::Run() {
  while (!AtEnd()) NPUMOE_RETURN_IF_ERROR(Step());
  return std::move(output_);
}

Status Translator::Step() {
  switch (pattern_[position_]) {
    case '(':
      return OpenGroup();
    case ')':
      return CloseGroup();
    case '[':
      return Class();
    case '\\':
      BeginAtom();
      return Escape();
    case '*':
    case '+':
    case '?':
      return Quantifier();
    case '{':
      return Interval();
    default:
      BeginAtom();
      // All bytes of a character are one atom.
      do {
        Copy(1);
      } while (!AtEnd() && (static_cast<unsigned char>(pattern_[position_]) & 0xC0) == 0x80);
      return OkStatus();
  }
}

Status Translator::OpenGroup() {
  group_begins_.push_back(output_.size());
  for (const std::string_view opening : kGroupOpenings) {
    if (StartsWith(opening)) {
      Copy(opening.size());
      return OkStatus();
    }
  }
  if (StartsWith("(?")) {
    return Refuse("the group '" + std::string(pattern_.substr(position_, 4)) + "'");
  }
  Copy(1);
  return OkStatus();
}

Status Translator::CloseGroup() {
  if (group_begins_.empty()) return InvalidInput(name_ + ": the pattern has a ')' too many");
  atom_begin_ = group_begins_.back();
  group_begins_.pop_back();
  Copy(1);
  return OkStatus();
}

Status Translator::Class() {
  BeginAtom();
  Copy(StartsWith("[^") ? 2 : 1);
  if (StartsWith("]")) return Refuse("a ']' at the beginning of a class");
  while (!AtEnd()) {
    if (StartsWith("[")) return Refuse("a class inside a class");
    if (StartsWith("&&")) return Refuse("an intersection of classes ('&&')");
    if (StartsWith("\\")) {
      NPUMOE_RETURN_IF_ERROR(Escape());
      continue;
    }
    const bool is_end = StartsWith("]");
    Copy(1);
    if (is_end) return OkStatus();
  }
  return InvalidInput(name_ + ": the pattern has a '[' without ']'");
}

Status Translator::Escape() {
  if (position_ + 1 >= pattern_.size()) {
    return InvalidInput(name_ + ": the pattern ends with a single backslash");
  }
  const char c = pattern_[position_ + 1];
  if (c == 'p' || c == 'P') return Property();
  if (c == 'x' || c == 'u') return HexEscape();
  // \s and \d: Unicode's in both. \A, \z: ends of the text.
  constexpr std::string_view kSame = "sSdDrntfaAz";
  if (!IsPunctuation(c) && kSame.find(c) == kSame.npos) {
    return Refuse("the escape '\\" + std::string(1, c) + "'");
  }
  Copy(2);
  return OkStatus();
}

// \p{L}, \P{L}, \p{^L}; a long name is a script, which PCRE2 would widen by script extensions.
Status Translator::Property() {
  const size_t close = pattern_.find('}', position_);
  if (position_ + 2 >= pattern_.size() || pattern_[position_ + 2] != '{' ||
      close == pattern_.npos) {
    return Refuse("a property without braces");
  }
  std::string_view property = pattern_.substr(position_ + 3, close - position_ - 3);
  bool is_negative = pattern_[position_ + 1] == 'P';
  if (property.starts_with("^")) {
    is_negative = !is_negative;
    property.remove_prefix(1);
  }
  const bool is_name = !property.empty() && std::ranges::all_of(property, [](char c) {
    return std::isalpha(static_cast<unsigned char>(c)) || c == '_';
  });
  if (!is_name) return Refuse("the property '" + std::string(property) + "'");
  output_ += is_negative ? "\\P{" : "\\p{";
  if (property.size() > 2) output_ += "sc:";
  output_ += std::string(property) + "}";
  position_ = close + 1;
  return OkStatus();
}

// \x41, \x{41} and \u0041 become \x{41}.
Status Translator::HexEscape() {
  const bool has_braces = StartsWith("\\x{");
  const size_t begin = position_ + (has_braces ? 3 : 2);
  const size_t max_digits = has_braces ? 8 : pattern_[position_ + 1] == 'u' ? 4 : 2;
  size_t end = begin;
  while (end < pattern_.size() && end - begin < max_digits &&
         std::isxdigit(static_cast<unsigned char>(pattern_[end]))) {
    ++end;
  }
  const bool is_closed = !has_braces || (end < pattern_.size() && pattern_[end] == '}');
  if (end == begin || !is_closed || (!has_braces && end - begin != max_digits)) {
    return Refuse("an incomplete hexadecimal escape");
  }
  output_ += "\\x{" + std::string(pattern_.substr(begin, end - begin)) + "}";
  position_ = end + (has_braces ? 1 : 0);
  return OkStatus();
}

// Behind *, + and ? both engines know ? (as few as possible) and + (never give back).
Status Translator::Quantifier() {
  Copy(1);
  if (StartsWith("?") || StartsWith("+")) Copy(1);
  return OkStatus();
}

// {n}, {n,}, {,m}, {n,m}. A + behind it repeats the whole in Oniguruma and would be possessive
// in PCRE2.
Status Translator::Interval() {
  const size_t close = pattern_.find('}', position_);
  if (close == pattern_.npos) return Refuse("a '{' without '}'");
  const std::string_view body = pattern_.substr(position_ + 1, close - position_ - 1);
  const bool is_interval = std::ranges::any_of(body, IsDigit) &&
                           std::ranges::count(body, ',') <= 1 &&
                           std::ranges::all_of(body, [](char c) { return IsDigit(c) || c == ','; });
  if (!is_interval) return Refuse("a '{' that is no repetition; write '\\{'");
  output_ += "{" + std::string(body.starts_with(",") ? "0" : "") + std::string(body) + "}";
  position_ = close + 1;
  if (StartsWith("?")) Copy(1);
  if (StartsWith("+")) {
    output_.insert(atom_begin_, "(?:");
    output_ += ")";
    Copy(1);
    if (StartsWith("+") || StartsWith("?")) return Refuse("a repetition of a repetition");
  }
  return OkStatus();
}

}  // namespace

Result<std::string> TranslateOnigurumaPattern(std::string_view pattern, const std::string& name) {
  return Translator(pattern, name).Run();
}

}  // namespace npumoe
