#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace npumoe {
namespace {

// Creates "PATH.PID-N.tmp" with the first N that is free and stores its name.
int CreateTemporary(const std::filesystem::path& path, std::filesystem::path& name) {
  constexpr int kMaxAttempts = 1000;  // chosen: left-overs of killed processes with our id
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    name = path;
    name += '.' + std::to_string(::getpid()) + '-' + std::to_string(attempt) + ".tmp";
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

}  // namespace

Status WriteError(const std::filesystem::path& path, int error_number) {
  const std::string what =
      path.string() + ": cannot be written: " + std::generic_category().message(error_number);
  if (error_number == EFBIG) {
    return ResourceExhausted(what +
                             "; raise the limit on file sizes (ulimit -f), or choose a file "
                             "system that takes larger ones");
  }
  if (error_number == ENOSPC || error_number == EDQUOT) {
    return ResourceExhausted(what + "; free some space or choose another folder");
  }
  return IoError(what);
}

AtomicFile::AtomicFile(std::filesystem::path path, std::filesystem::path target,
                       std::filesystem::path temporary, int descriptor)
    : path_(std::move(path)),
      target_(std::move(target)),
      temporary_(std::move(temporary)),
      descriptor_(descriptor) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

Result<AtomicFile> AtomicFile::Create(const std::filesystem::path& path) {
  std::error_code ignored;  // a target that cannot be examined fails below, with its reason
  const auto kind = std::filesystem::status(path, ignored).type();
  if (kind == std::filesystem::file_type::directory) {
    return InvalidInput(path.string() + ": is a folder, a file is needed");
  }
  if (kind != std::filesystem::file_type::regular && std::filesystem::exists(path, ignored)) {
    return InvalidInput(path.string() + ": is a device or pipe, a regular file is needed");
  }
  std::filesystem::path target = path;
  if (std::filesystem::is_symlink(path, ignored)) {
    target = std::filesystem::weakly_canonical(path, ignored);
    if (target.empty()) target = path;
  }
  std::filesystem::path temporary;
  const int descriptor = CreateTemporary(target, temporary);
  if (descriptor < 0) return WriteError(path, errno);
  return AtomicFile(path, std::move(target), std::move(temporary), descriptor);
}

Status AtomicFile::Append(std::string_view bytes) {
  size_ += bytes.size();
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return WriteError(path_, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return OkStatus();
}

Status AtomicFile::Commit() {
  if (::fsync(descriptor_) != 0) return WriteError(path_, errno);
  // Some file systems report a failed write only here.
  if (::close(std::exchange(descriptor_, -1)) == 0 &&
      ::rename(temporary_.c_str(), target_.c_str()) == 0) {
    return OkStatus();
  }
  const Status status = WriteError(path_, errno);
  ::unlink(temporary_.c_str());
  return status;
}

}  // namespace npumoe
