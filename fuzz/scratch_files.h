// A folder for the files that a fuzz target needs on the disk: in memory where that is possible,
// removed when the program ends.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>

namespace npumoe::fuzz {

class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Replaces the file; makes the folders above it.
void WriteFile(const std::filesystem::path& path, std::string_view contents);

}  // namespace npumoe::fuzz
