#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "model/gguf/gguf_model.h"
#include "model/gguf/part_name.h"

namespace npumoe {
namespace {

constexpr std::string_view kExtension = ".gguf";

bool IsLaterPart(const std::string& name) {
  const auto part = ParsePartName(name);
  return part && part->number != 1;
}

std::string Listed(const std::vector<std::string>& names) {
  constexpr size_t kMost = 4;  // chosen: enough to see what they are
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    text += (i == 0 ? "'" : ", '") + names[i] + "'";
  }
  return names.size() > kMost ? text + ", ..." : text;
}

}  // namespace

bool IsGgufPath(const std::filesystem::path& path) {
  return std::ranges::equal(path.extension().string(), kExtension,
                            [](unsigned char c, char wanted) { return std::tolower(c) == wanted; });
}

Result<std::filesystem::path> GgufOf(const std::filesystem::path& path) {
  std::error_code ignored;  // a path that cannot be examined fails later, with its reason
  if (!std::filesystem::is_directory(path, ignored)) {
    return IsGgufPath(path) ? path : std::filesystem::path();
  }
  if (std::filesystem::exists(path / "config.json", ignored)) return std::filesystem::path();
  std::vector<std::string> models;
  std::vector<std::string> later_parts;
  for (const auto& entry : std::filesystem::directory_iterator(path, ignored)) {
    if (!IsGgufPath(entry.path())) continue;
    const std::string name = entry.path().filename().string();
    (IsLaterPart(name) ? later_parts : models).push_back(name);
  }
  std::ranges::sort(models);
  if (models.size() == 1) return path / models.front();
  if (models.size() > 1) {
    return InvalidInput(path.string() + ": holds " + std::to_string(models.size()) +
                        " GGUF models (" + Listed(models) + ") and no config.json; name one file");
  }
  if (later_parts.empty()) return std::filesystem::path();
  std::ranges::sort(later_parts);
  return NotFound(path.string() + ": holds " + Listed(later_parts) +
                  " of a model that is split, but not its first part, '" +
                  ParsePartName(later_parts.front())->Numbered(1).ToString() +
                  "'; download all parts into this folder");
}

}  // namespace npumoe
