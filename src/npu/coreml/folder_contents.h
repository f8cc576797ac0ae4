// What lies in a folder, so that a damaged copy is noticed: names and sizes of all files, hashes of
// the small ones. The large ones, weights, would take as long to hash as to load: what they compute
// is checked when a program is first used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace npumoe::coreml_device {

struct FolderFile {
  std::string path;  // relative, with '/'
  int64_t bytes = 0;
  std::string hash;  // empty: too large
  bool operator==(const FolderFile&) const = default;
};

struct FolderContents {
  std::vector<FolderFile> files;  // by path
  int64_t bytes() const;
  bool operator==(const FolderContents&) const = default;
};

Result<FolderContents> ListFolder(const std::filesystem::path& folder);

// A JSON text and back; `name` starts every message.
std::string SerializeContents(const FolderContents& contents);
Result<FolderContents> ParseContents(const std::string& text, const std::string& name);

// Hash of every byte of every file of a package: what a compiled model was made from.
Result<std::string> HashPackage(const std::filesystem::path& package);

}  // namespace npumoe::coreml_device
