// Names of values, operations and functions: which ones MIL takes, and how a name from a file is
// shown in a message.
#pragma once

#include <string>
#include <string_view>

namespace npumoe {

inline constexpr size_t kMaxNameBytes = 256;  // chosen; Core ML states no limit

// [A-Za-z_][A-Za-z0-9_@]*, at most kMaxNameBytes.
bool IsValidName(std::string_view name);

// In quotes, cut to a readable length, bytes that a terminal might act on replaced by '?'.
std::string Quoted(std::string_view name);

}  // namespace npumoe
