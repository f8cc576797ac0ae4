// Tokenizers that are too large for the repository: tests that need them are skipped where they
// are absent, but fail where the project is judged (CI=true).
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

namespace npumoe {

inline const std::filesystem::path& SharedTokenizers() {
  static const std::filesystem::path folder =
      std::filesystem::path(NPUMOE_SOURCE_DIR) / "../shared/data/tokenizers";
  return folder;
}

inline bool IsSharedDataRequired() {
  const char* ci = std::getenv("CI");
  return ci != nullptr && std::string(ci) == "true";
}

#define NPUMOE_NEEDS(path)                                                                     \
  do {                                                                                         \
    if (!std::filesystem::exists(path) && IsSharedDataRequired())                              \
      FAIL() << (path) << " is absent";                                                        \
    if (!std::filesystem::exists(path)) GTEST_SKIP() << (path) << " is absent, nothing to do"; \
  } while (false)

inline std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream contents;
  contents << file.rdbuf();
  return contents.str();
}

// What the program xz unpacks; none without it.
inline std::optional<std::string> ReadXz(const std::filesystem::path& path) {
  const std::string command = "xz -dc '" + path.string() + "' 2>/dev/null";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (pipe == nullptr) return std::nullopt;
  std::string text;
  std::array<char, 1 << 16> buffer;
  for (size_t count; (count = std::fread(buffer.data(), 1, buffer.size(), pipe.get())) > 0;) {
    text.append(buffer.data(), count);
  }
  if (text.empty()) return std::nullopt;
  return text;
}

}  // namespace npumoe
