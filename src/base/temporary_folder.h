// TemporaryFolder: a folder of its own below the system's folder for such things (TMPDIR), or in
// memory, removed with everything in it at the end.
#pragma once

#include <filesystem>
#include <string>

#include "base/status.h"

namespace npumoe {

class TemporaryFolder {
 public:
  // kMemory, where the system has such a folder: for many small files that are flushed one by one.
  enum class Place { kDisk, kMemory };
  // NAME-XXXXXX; kIo says to set TMPDIR.
  static Result<TemporaryFolder> Create(const std::string& name, Place place = Place::kDisk);
  ~TemporaryFolder();
  TemporaryFolder(TemporaryFolder&& other) noexcept;
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;  // empty: moved from
};

}  // namespace npumoe
