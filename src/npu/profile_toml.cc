#include "npu/profile_toml.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

namespace npumoe {
namespace {

using Kind = TomlValue::Kind;
using Origin = TomlValue::Origin;

// Chosen, far above any profile: a key is compared with all keys of its table, and values within
// values are read by recursion.
constexpr size_t kMaxKeys = 256;
constexpr size_t kMaxDepth = 8;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsKeyByte(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

// Bytes of the UTF-8 sequence at the start of `text`, which is not empty; 0 when it is invalid.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool no_character = (lead == 0xed && byte(1) > 0x9f) || (lead == 0xf4 && byte(1) > 0x8f);
  return overlong || no_character ? 0 : length;
}

// [+-] digits [. digits] [e [+-] digits], the first digits without a leading zero.
bool IsNumber(std::string_view word) {
  size_t at = 0;
  const auto skip_digits = [&] {
    const size_t first = at;
    while (at < word.size() && IsDigit(word[at])) ++at;
    return at - first;
  };
  const auto skip_one_of = [&](std::string_view set) {
    const bool found = at < word.size() && set.find(word[at]) != std::string_view::npos;
    at += found ? 1 : 0;
    return found;
  };
  skip_one_of("+-");
  const size_t first = at;
  const size_t whole = skip_digits();
  if (whole == 0 || (whole > 1 && word[first] == '0')) return false;
  if (skip_one_of(".") && skip_digits() == 0) return false;
  if (skip_one_of("eE")) {
    skip_one_of("+-");
    if (skip_digits() == 0) return false;
  }
  return at == word.size();
}

class Parser {
 public:
  Parser(std::string_view text, const std::string& name) : rest_(text), name_(name) {}

  Result<TomlValue> Parse() {
    TomlValue root;
    TomlValue* table = &root;
    while (true) {
      NPUMOE_RETURN_IF_ERROR(SkipBlankLines());
      if (rest_.empty()) return root;
      if (Take('[')) {
        NPUMOE_ASSIGN_OR_RETURN(table, ReadHeader(root));
      } else {
        NPUMOE_RETURN_IF_ERROR(ReadEntry(*table, 0));
      }
      NPUMOE_RETURN_IF_ERROR(SkipComment());
      if (!AtLineEnd()) return Needs("the end of the line");
    }
  }

 private:
  Status Error(const std::string& what) const {
    return InvalidInput(fmt::format("{}:{}: {}", name_, line_, what));
  }

  // The error of a place where something else stands.
  Status Needs(const std::string& needed) const {
    if (AtLineEnd()) return Error(needed + " is needed; the line ends");
    const char c = rest_.front();
    const bool printable = c > ' ' && c <= '~';
    return Error(needed + " is needed; found " +
                 (printable ? fmt::format("'{}'", c)
                            : fmt::format("byte 0x{:02x}", static_cast<unsigned char>(c))));
  }

  char Next() const { return rest_.empty() ? '\0' : rest_.front(); }

  bool Take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool AtLineEnd() const {
    return rest_.empty() || rest_.starts_with('\n') || rest_.starts_with("\r\n");
  }

  void SkipBlanks() {
    while (Take(' ') || Take('\t')) {
    }
  }

  // One character of a text or comment, as its bytes.
  Result<std::string_view> TakeCharacter() {
    const auto c = static_cast<unsigned char>(rest_.front());
    const size_t length = Utf8Length(rest_);
    if (length == 0 || (c < ' ' && c != '\t') || c == 0x7f) {
      return Error(fmt::format("byte 0x{:02x} may not stand in texts and comments", c));
    }
    const std::string_view bytes = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return bytes;
  }

  Status SkipComment() {
    SkipBlanks();
    if (!Take('#')) return OkStatus();
    while (!AtLineEnd()) {
      if (const auto taken = TakeCharacter(); !taken.ok()) return taken.status();
    }
    return OkStatus();
  }

  // Blanks, comments and line ends.
  Status SkipBlankLines() {
    while (true) {
      NPUMOE_RETURN_IF_ERROR(SkipComment());
      if (rest_.empty() || !AtLineEnd()) return OkStatus();
      Take('\r');
      Take('\n');
      ++line_;
    }
  }

  Result<std::string> ReadKey() {
    const size_t length = static_cast<size_t>(
        std::find_if_not(rest_.begin(), rest_.end(), IsKeyByte) - rest_.begin());
    if (length == 0) return Needs("a name of letters, digits, '_' and '-'");
    std::string key(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return key;
  }

  // The new entry of a table.
  Result<TomlValue*> Add(TomlValue& table, std::string key, TomlValue value) {
    if (table.Find(key) != nullptr) return Error(fmt::format("'{}' stands here twice", key));
    if (table.keys.size() == kMaxKeys) {
      return Error(fmt::format("a table has at most {} entries", kMaxKeys));
    }
    table.keys.push_back(std::move(key));
    table.items.push_back(std::move(value));
    return &table.items.back();
  }

  TomlValue At(Kind kind) const {
    TomlValue value;
    value.kind = kind;
    value.line = line_;
    return value;
  }

  // What stands behind the '[' of [a.b]; the table that it opens.
  Result<TomlValue*> ReadHeader(TomlValue& root) {
    TomlValue* table = &root;
    size_t depth = 0;
    do {
      if (++depth > kMaxDepth) return Error("tables lie too deep in one another");
      SkipBlanks();
      NPUMOE_ASSIGN_OR_RETURN(std::string key, ReadKey());
      TomlValue* below = table->Find(key);
      if (below == nullptr) {
        NPUMOE_ASSIGN_OR_RETURN(below, Add(*table, key, At(Kind::kTable)));
      }
      if (below->kind != Kind::kTable || below->origin == Origin::kInline) {
        return Error(fmt::format("'{}' has a value already and cannot be continued", key));
      }
      table = below;
      SkipBlanks();
    } while (Take('.'));
    if (!Take(']')) return Needs("the ']' of a table's header");
    if (table->origin == Origin::kHeader) return Error("this table stands here twice");
    table->origin = Origin::kHeader;
    table->line = line_;
    return table;
  }

  // key = value
  Status ReadEntry(TomlValue& table, size_t depth) {
    NPUMOE_ASSIGN_OR_RETURN(std::string key, ReadKey());
    SkipBlanks();
    if (!Take('=')) return Needs(fmt::format("the '=' behind '{}'", key));
    SkipBlanks();
    NPUMOE_ASSIGN_OR_RETURN(TomlValue value, ReadValue(depth));
    return Add(table, std::move(key), std::move(value)).status();
  }

  Result<TomlValue> ReadValue(size_t depth) {
    if (depth == kMaxDepth) return Error("values lie too deep in one another");
    if (Next() == '"' || Next() == '\'') return ReadText();
    if (Take('[')) return ReadArray(depth);
    if (Take('{')) return ReadInlineTable(depth);
    return ReadWord();
  }

  // true, false or a number: everything up to what may stand behind one.
  Result<TomlValue> ReadWord() {
    const std::string_view word = rest_.substr(0, rest_.find_first_of(" \t\r\n,]}#"));
    const auto is_plain = [](char c) { return IsKeyByte(c) || c == '+' || c == '.' || c == ':'; };
    if (word.empty() || !std::all_of(word.begin(), word.end(), is_plain)) {
      return Needs("a text, number, true, false, array or table");
    }
    TomlValue value = At(word == "true" || word == "false" ? Kind::kFlag : Kind::kNumber);
    value.flag = word == "true";
    if (value.kind == Kind::kNumber) {
      if (!IsNumber(word)) {
        return Error(fmt::format(
            "'{}' is no value of a profile: texts stand in quotes, numbers are decimal, as 1.5",
            word.substr(0, 40)));
      }
      const char* first = word.data() + (word.front() == '+' ? 1 : 0);
      const auto end = std::from_chars(first, word.data() + word.size(), value.number);
      if (end.ec != std::errc()) {
        return Error(fmt::format("'{}' is beyond the numbers of a double", word.substr(0, 40)));
      }
    }
    rest_.remove_prefix(word.size());
    return value;
  }

  Result<TomlValue> ReadText() {
    if (rest_.starts_with("\"\"\"") || rest_.starts_with("'''")) {
      return Error("texts of several lines are not supported; write one line");
    }
    const char quote = Next();
    Take(quote);
    TomlValue value = At(Kind::kText);
    while (!Take(quote)) {
      if (AtLineEnd()) return Error("the closing quote of a text is missing");
      if (quote == '"' && Take('\\')) {
        NPUMOE_RETURN_IF_ERROR(ReadEscape(value.text));
      } else {
        NPUMOE_ASSIGN_OR_RETURN(const std::string_view bytes, TakeCharacter());
        value.text += bytes;
      }
    }
    return value;
  }

  // What stands behind a backslash. Other letters are written as they are: the file is UTF-8.
  Status ReadEscape(std::string& text) {
    constexpr std::string_view kNames = "\"\\bfnrt";
    constexpr std::string_view kCharacters = "\"\\\b\f\n\r\t";
    const size_t found = rest_.empty() ? std::string_view::npos : kNames.find(Next());
    if (found == std::string_view::npos) {
      return Error("behind a backslash one of \" \\ b f n r t is needed");
    }
    text += kCharacters[found];
    rest_.remove_prefix(1);
    return OkStatus();
  }

  // What stands behind '['. Line ends are allowed, and a comma before the ']'.
  Result<TomlValue> ReadArray(size_t depth) {
    TomlValue value = At(Kind::kArray);
    NPUMOE_RETURN_IF_ERROR(SkipBlankLines());
    while (!Take(']')) {
      NPUMOE_ASSIGN_OR_RETURN(TomlValue item, ReadValue(depth + 1));
      value.items.push_back(std::move(item));
      NPUMOE_RETURN_IF_ERROR(SkipBlankLines());
      if (Take(',')) {
        NPUMOE_RETURN_IF_ERROR(SkipBlankLines());
      } else if (Next() != ']') {
        return Needs("',' or ']'");
      }
    }
    return value;
  }

  // What stands behind '{', all on one line.
  Result<TomlValue> ReadInlineTable(size_t depth) {
    TomlValue value = At(Kind::kTable);
    value.origin = Origin::kInline;
    SkipBlanks();
    if (Take('}')) return value;
    do {
      SkipBlanks();
      NPUMOE_RETURN_IF_ERROR(ReadEntry(value, depth + 1));
      SkipBlanks();
    } while (Take(','));
    if (!Take('}')) return Needs("',' or '}'");
    return value;
  }

  std::string_view rest_;
  const std::string& name_;
  int line_ = 1;
};

}  // namespace

const TomlValue* TomlValue::Find(std::string_view key) const {
  const auto found = std::find(keys.begin(), keys.end(), key);
  return found == keys.end() ? nullptr : &items[static_cast<size_t>(found - keys.begin())];
}

TomlValue* TomlValue::Find(std::string_view key) {
  return const_cast<TomlValue*>(std::as_const(*this).Find(key));
}

Result<TomlValue> ParseToml(std::string_view text, const std::string& name) {
  return Parser(text, name).Parse();
}

}  // namespace npumoe
