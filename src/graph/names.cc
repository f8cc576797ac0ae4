#include "graph/names.h"

#include <algorithm>

namespace npumoe {
namespace {

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsNameByte(char c) { return IsLetter(c) || (c >= '0' && c <= '9') || c == '@'; }

}  // namespace

bool IsValidName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && IsLetter(name.front()) &&
         std::all_of(name.begin(), name.end(), IsNameByte);
}

std::string Quoted(std::string_view name) {
  constexpr size_t kShownBytes = 80;  // chosen: one line of a message
  std::string shown = "'";
  for (const char c : name.substr(0, kShownBytes)) shown += (c >= ' ' && c <= '~') ? c : '?';
  if (name.size() > kShownBytes) shown += "...";
  return shown + "'";
}

}  // namespace npumoe
