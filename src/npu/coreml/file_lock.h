// FileLock: an advisory lock on a file that ends with its owner or with the process, however that
// ends. Two locks of one process exclude each other as those of two processes do.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace npumoe::coreml_device {

class FileLock {
 public:
  enum class Kind { kShared, kExclusive };
  enum class Missing { kIsAnError, kIsCreated };

  // None when somebody else holds it, when the file cannot be opened, or when it was removed
  // meanwhile. Never waits.
  static std::optional<FileLock> TryOpen(const std::filesystem::path& path, Kind kind,
                                         Missing missing = Missing::kIsAnError);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

  // The whole of a file of a few bytes.
  std::string Read() const;
  bool Write(const std::string& text);

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace npumoe::coreml_device
