#include "npu/coreml/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace npumoe::coreml_device {
namespace {

// Whether `path` still leads to the open file: it may have been removed before it was locked.
bool IsStillThere(const std::filesystem::path& path, int descriptor) {
  struct stat by_name = {};
  struct stat by_descriptor = {};
  return ::stat(path.c_str(), &by_name) == 0 && ::fstat(descriptor, &by_descriptor) == 0 &&
         by_name.st_ino == by_descriptor.st_ino && by_name.st_dev == by_descriptor.st_dev;
}

}  // namespace

std::optional<FileLock> FileLock::TryOpen(const std::filesystem::path& path, Kind kind,
                                          Missing missing) {
  const int flags = missing == Missing::kIsCreated ? O_RDWR | O_CREAT : O_RDONLY;
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (descriptor < 0) return std::nullopt;
  FileLock lock(descriptor);
  const int operation = kind == Kind::kShared ? LOCK_SH : LOCK_EX;
  if (::flock(descriptor, operation | LOCK_NB) != 0) return std::nullopt;
  if (!IsStillThere(path, descriptor)) return std::nullopt;
  return lock;
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string FileLock::Read() const {
  char text[64];
  const ssize_t got = ::pread(descriptor_, text, sizeof text, 0);
  return got > 0 ? std::string(text, static_cast<size_t>(got)) : std::string();
}

bool FileLock::Write(const std::string& text) {
  return ::ftruncate(descriptor_, 0) == 0 &&
         ::pwrite(descriptor_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

}  // namespace npumoe::coreml_device
