// The part of TOML that chip profiles are written in, read into values that know their line:
//
//   # comment                 [table]  [table.below]        key = value
//
// Keys are bare (letters, digits, '_', '-'). A value is a text on one line ("with \n escapes" or
// 'without'), a decimal number, true or false, an array (over lines, if it is long) or an inline
// table. What else TOML has (texts of several lines, dates, other bases, inf and nan, quoted and
// dotted keys, arrays of tables) is refused with its line: profiles need none of it, and so small
// a grammar can be read completely.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace npumoe {

struct TomlValue {
  enum class Kind { kFlag, kNumber, kText, kArray, kTable };
  // How a table came to be: it lies above a header's table, has a header, or stands in { }.
  enum class Origin { kImplied, kHeader, kInline };

  Kind kind = Kind::kTable;
  int line = 1;
  bool flag = false;
  double number = 0;              // finite
  std::string text;               // valid UTF-8
  std::vector<TomlValue> items;   // of an array or a table
  std::vector<std::string> keys;  // of a table: keys[i] names items[i]; each name once
  Origin origin = Origin::kImplied;

  // The entry of a table; null when there is none.
  const TomlValue* Find(std::string_view key) const;
  TomlValue* Find(std::string_view key);
};

// The table of the whole file. Errors begin with "name:line: ".
Result<TomlValue> ParseToml(std::string_view text, const std::string& name);

}  // namespace npumoe
