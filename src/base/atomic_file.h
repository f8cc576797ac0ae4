// AtomicFile: a file that is written piece by piece under a temporary name in its own folder and
// gets its real name at the end: readers see the old file or the whole new one. A full disk, or an
// owner that goes away early, leaves the old file as it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/status.h"

namespace npumoe {

class AtomicFile {
 public:
  // `path` may exist, unless it is a folder, a device or a pipe. A link stays: its target is
  // replaced.
  static Result<AtomicFile> Create(const std::filesystem::path& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();  // removes what was not committed

  Status Append(std::string_view bytes);
  uint64_t size() const { return size_; }
  // What was appended so far, for those who want to read it back.
  const std::filesystem::path& temporary_path() const { return temporary_; }
  // Flushes to the disk and renames; nothing may follow.
  Status Commit();

 private:
  AtomicFile(std::filesystem::path path, std::filesystem::path target,
             std::filesystem::path temporary, int descriptor);
  std::filesystem::path path_;    // as given, for messages
  std::filesystem::path target_;  // behind links
  std::filesystem::path temporary_;
  int descriptor_;  // -1: committed, or moved away
  uint64_t size_ = 0;
};

// "PATH: cannot be written: REASON"; a full disk is kResourceExhausted.
Status WriteError(const std::filesystem::path& path, int error_number);

}  // namespace npumoe
