#include "model/chat/jinja_tokens.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace npumoe {
namespace {

enum class Kind : char {
  kText = 't',
  kOpen = '<',
  kClose = '>',
  kName = 'n',
  kLiteral = 's',
  kOperator = 'o'
};

bool IsSpace(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

// Names may have letters of any script; numbers count as names here.
bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool IsBlank(std::string_view text) { return std::ranges::all_of(text, IsSpace); }

// Line ends as Jinja reads them; it drops one at the end of the source.
std::string WithPlainLineEnds(std::string_view source) {
  std::string plain;
  plain.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    plain += source[i] == '\r' ? '\n' : source[i];
  }
  if (plain.ends_with('\n')) plain.pop_back();
  return plain;
}

class Reader {
 public:
  explicit Reader(std::string_view source) : source_(source) {}

  std::optional<std::string> Run();

 private:
  bool IsOpening(size_t at) const;
  void TakeText(size_t opening);
  bool ReadComment();
  bool ReadTag();
  bool ReadToken();
  bool ReadLiteral();
  bool IsClosing(std::string_view bracket, size_t* bytes) const;
  void Close(std::string_view closing, bool takes_newline);
  void FlushText();
  void Put(Kind kind, std::string_view token);
  std::string_view rest() const { return source_.substr(at_); }

  std::string_view source_;
  size_t at_ = 0;
  std::string text_;         // that no tag has ended yet
  bool starts_line_ = true;  // nothing but a line end stands before at_
  int depth_ = 0;            // brackets that are open inside the tag
  std::string tokens_;
};

void Reader::Put(Kind kind, std::string_view token) {
  tokens_ += static_cast<char>(kind);
  tokens_ += std::to_string(token.size()) + ":";
  tokens_ += token;
}

void Reader::FlushText() {
  if (!text_.empty()) Put(Kind::kText, text_);
  text_.clear();
}

bool Reader::IsOpening(size_t at) const {
  return source_[at] == '{' && at + 1 < source_.size() &&
         (source_[at + 1] == '{' || source_[at + 1] == '%' || source_[at + 1] == '#');
}

// The text before the tag that opens at `opening`, without the white space that the tag strips:
// all of it for "{%-"; a block's or comment's own indentation, but for "{%+".
void Reader::TakeText(size_t opening) {
  std::string_view text = source_.substr(at_, opening - at_);
  const char mark = opening + 2 < source_.size() ? source_[opening + 2] : '\0';
  if (mark == '-') {
    while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  } else if (mark != '+' && source_[opening + 1] != '{') {
    const size_t line_end = text.rfind('\n');
    const size_t line = line_end == text.npos ? 0 : line_end + 1;
    if ((line > 0 || starts_line_) && IsBlank(text.substr(line))) text = text.substr(0, line);
  }
  text_ += text;
  at_ = opening + 2;
  if (mark == '-' || mark == '+') ++at_;
}

// Behind the end of a tag: "-" strips all white space, a block or comment swallows its line end.
void Reader::Close(std::string_view closing, bool takes_newline) {
  const size_t begin = at_ + closing.size();
  at_ = begin;
  if (closing.front() == '-') {
    while (at_ < source_.size() && IsSpace(source_[at_])) ++at_;
  } else if (takes_newline && closing.front() != '+' && rest().starts_with('\n')) {
    ++at_;
  }
  starts_line_ = at_ > begin && source_[at_ - 1] == '\n';
}

bool Reader::ReadComment() {
  const size_t end = source_.find("#}", at_);
  if (end == source_.npos) return false;
  const bool is_marked = end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+');
  const size_t begin = is_marked ? end - 1 : end;
  at_ = begin;
  Close(source_.substr(begin, end + 2 - begin), true);
  return true;
}

// Whether the tag ends here: its bracket, which may have a mark before it. An expression's has no
// "+", which is an operator there.
bool Reader::IsClosing(std::string_view bracket, size_t* bytes) const {
  if (depth_ > 0) return false;
  const bool has_mark = rest().starts_with('-') || (rest().starts_with('+') && bracket == "%}");
  if (!rest().substr(has_mark ? 1 : 0).starts_with(bracket)) return false;
  *bytes = bracket.size() + (has_mark ? 1 : 0);
  return true;
}

bool Reader::ReadTag() {
  const size_t open = at_ - (source_[at_ - 1] == '-' || source_[at_ - 1] == '+' ? 3 : 2);
  const bool is_block = source_[open + 1] == '%';
  FlushText();
  Put(Kind::kOpen, is_block ? "%" : "{");
  depth_ = 0;
  for (;;) {
    while (at_ < source_.size() && IsSpace(source_[at_])) ++at_;
    if (at_ == source_.size()) return false;
    size_t closing_bytes = 0;
    if (IsClosing(is_block ? "%}" : "}}", &closing_bytes)) {
      Put(Kind::kClose, "");
      Close(source_.substr(at_, closing_bytes), is_block);
      return true;
    }
    if (!ReadToken()) return false;
  }
}

bool Reader::ReadToken() {
  const char c = source_[at_];
  if (c == '\'' || c == '"') return ReadLiteral();
  size_t end = at_;
  while (end < source_.size() && IsNameCharacter(source_[end])) ++end;
  if (end > at_) {
    Put(Kind::kName, source_.substr(at_, end - at_));
    at_ = end;
    return true;
  }
  constexpr std::array<std::string_view, 6> kPairs = {"//", "**", "==", "!=", "<=", ">="};
  constexpr std::string_view kSingles = "+-/*%~[](){}<>=.:|,;";
  const auto pair = std::ranges::find_if(
      kPairs, [&](std::string_view candidate) { return rest().starts_with(candidate); });
  const size_t bytes = pair == kPairs.end() ? 1 : 2;
  if (bytes == 1 && kSingles.find(c) == kSingles.npos) return false;
  if (c == '(' || c == '[' || c == '{') ++depth_;
  if ((c == ')' || c == ']' || c == '}') && --depth_ < 0) return false;
  Put(Kind::kOperator, rest().substr(0, bytes));
  at_ += bytes;
  return true;
}

// A literal's characters; of escapes those that another way of quoting would not need are
// resolved, the others stay as they are written.
bool Reader::ReadLiteral() {
  const char quote = source_[at_++];
  std::string literal;
  while (at_ < source_.size() && source_[at_] != quote) {
    const char c = source_[at_++];
    if (c != '\\') {
      literal += c;
      continue;
    }
    if (at_ == source_.size()) return false;
    const char escaped = source_[at_++];
    if (escaped == 'n') {
      literal += '\n';
    } else if (escaped == 't') {
      literal += '\t';
    } else if (escaped == '\'' || escaped == '"') {
      literal += escaped;
    } else {
      literal += {'\\', escaped};
    }
  }
  if (at_ == source_.size()) return false;
  ++at_;
  Put(Kind::kLiteral, literal);
  return true;
}

std::optional<std::string> Reader::Run() {
  while (at_ < source_.size()) {
    size_t opening = at_;
    while (opening < source_.size() && !IsOpening(opening)) ++opening;
    if (opening == source_.size()) {
      text_ += source_.substr(at_);
      break;
    }
    const bool is_comment = source_[opening + 1] == '#';
    TakeText(opening);
    if (!(is_comment ? ReadComment() : ReadTag())) return std::nullopt;
  }
  FlushText();
  return std::move(tokens_);
}

}  // namespace

std::optional<std::string> JinjaTokens(std::string_view source) {
  return Reader(WithPlainLineEnds(source)).Run();
}

}  // namespace npumoe
