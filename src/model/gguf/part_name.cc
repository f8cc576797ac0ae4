#include "model/gguf/part_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string_view>

namespace npumoe {
namespace {

constexpr size_t kDigits = 5;

int NumberAt(std::string_view text, size_t at) {
  int number = 0;
  for (const char digit : text.substr(at, kDigits)) number = 10 * number + (digit - '0');
  return number;
}

}  // namespace

std::string PartName::ToString() const {
  return fmt::format("{}-{:05}-of-{:05}{}", stem, number, count, extension);
}

std::optional<PartName> ParsePartName(const std::string& file) {
  constexpr std::string_view kPattern = "-00000-of-00000.gguf";  // a 0 stands for any digit
  if (file.size() <= kPattern.size()) return std::nullopt;
  const size_t begin = file.size() - kPattern.size();
  const std::string_view suffix = std::string_view(file).substr(begin);
  const size_t extension = kPattern.rfind('.');
  for (size_t i = 0; i < kPattern.size(); ++i) {
    const auto c = static_cast<unsigned char>(suffix[i]);
    const char found = i > extension ? static_cast<char>(std::tolower(c)) : suffix[i];
    if (kPattern[i] == '0' ? std::isdigit(c) == 0 : found != kPattern[i]) return std::nullopt;
  }
  return PartName{file.substr(0, begin), NumberAt(suffix, kPattern.find('0')),
                  NumberAt(suffix, kPattern.find("00000.")), std::string(suffix.substr(extension))};
}

}  // namespace npumoe
