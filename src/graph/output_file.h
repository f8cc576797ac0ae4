// OutputFile and StagingFolder: files of a package while it is being written. A failed write is
// an error with the path and the system's reason; nothing unfinished survives its owner.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/status.h"

namespace npumoe {

class OutputFile {
 public:
  static Result<OutputFile> Create(const std::filesystem::path& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // What was appended goes to the disk while more is made, so that Finish() finds little to wait
  // for.
  Status Append(std::span<const std::byte> bytes);
  Status WriteAt(uint64_t offset, std::span<const std::byte> bytes);
  Status ReadAt(uint64_t offset, std::span<std::byte> bytes) const;
  uint64_t size() const { return size_; }  // what was appended
  // Flushes to the disk and closes; nothing may follow.
  Status Finish();

 private:
  OutputFile(std::filesystem::path path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}
  std::filesystem::path path_;
  int descriptor_;
  uint64_t size_ = 0;
  uint64_t flush_started_ = 0;  // bytes from the beginning
};

Status WriteWholeFile(const std::filesystem::path& path, std::string_view contents);
// Makes the names inside `folder` durable.
Status FlushFolder(const std::filesystem::path& folder);

// A hidden folder beside `target`, removed with everything in it at the end.
class StagingFolder {
 public:
  // The parent of `target` must exist.
  static Result<StagingFolder> Create(const std::filesystem::path& target);
  StagingFolder(StagingFolder&& other) noexcept;
  StagingFolder& operator=(StagingFolder&&) = delete;
  ~StagingFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit StagingFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

// "PATH: cannot WHAT: reason of `error_number`"; a full disk is kResourceExhausted.
Status SystemError(const std::filesystem::path& path, const std::string& what, int error_number);

}  // namespace npumoe
