// MappedFile: a read-only memory map of a whole file. Readers get a span and check every offset.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace npumoe {

class MappedFile {
 public:
  // Fails for a missing file, a folder, or one that cannot be mapped. An empty file maps to an
  // empty span.
  static Result<std::shared_ptr<const MappedFile>> Open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// What may stand behind a path. The files of a model, a package or a plan are regular ones: opening
// a pipe there would wait for a writer that never comes. A text that somebody names may also come
// from a pipe or a device, as with the shell's <(command).
enum class FileKind { kRegularOnly, kAny };

// Whole small file as text; refuses more than `max_bytes`.
Result<std::string> ReadTextFile(const std::filesystem::path& path, size_t max_bytes,
                                 FileKind allowed = FileKind::kRegularOnly);

// Writes to a temporary name in the same folder, flushes, then renames: readers see the old file
// or the whole new one. A full disk leaves the old file as it was.
Status WriteFileAtomically(const std::filesystem::path& path, std::string_view contents);
// The same, of pieces that follow one another: large files need no second copy in memory.
Status WriteFileAtomically(const std::filesystem::path& path,
                           std::span<const std::string_view> pieces);

}  // namespace npumoe
