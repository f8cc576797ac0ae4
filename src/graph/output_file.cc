#include "graph/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace npumoe {
namespace {

// One write call at most; Linux and macOS refuse or cut calls from 2^31 bytes on.
constexpr size_t kMaxCallBytes = size_t{1} << 30;

// Chosen: some milliseconds of a disk's work, many times what one request to it takes.
constexpr uint64_t kFlushAheadBytes = uint64_t{32} << 20;

// Has the system start writing a part of the file to the disk. A hint that makes nothing durable:
// Finish() waits for everything and reports what failed meanwhile.
void StartFlush([[maybe_unused]] int descriptor, [[maybe_unused]] uint64_t begin,
                [[maybe_unused]] uint64_t end) {
#ifdef __linux__
  static_cast<void>(::sync_file_range(descriptor, static_cast<off64_t>(begin),
                                      static_cast<off64_t>(end - begin), SYNC_FILE_RANGE_WRITE));
#endif
}

}  // namespace

Status SystemError(const std::filesystem::path& path, const std::string& what, int error_number) {
  const std::string message =
      path.string() + ": cannot " + what + ": " + std::strerror(error_number);
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) {
    return ResourceExhausted(message + "; free some space or choose another folder");
  }
  return IoError(message);
}

Result<OutputFile> OutputFile::Create(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) return SystemError(path, "create the file", errno);
  return OutputFile(path, descriptor);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      flush_started_(other.flush_started_) {}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status OutputFile::Append(std::span<const std::byte> bytes) {
  NPUMOE_RETURN_IF_ERROR(WriteAt(size_, bytes));
  size_ += bytes.size();
  if (size_ - flush_started_ >= kFlushAheadBytes) {
    StartFlush(descriptor_, flush_started_, size_);
    flush_started_ = size_;
  }
  return OkStatus();
}

Status OutputFile::WriteAt(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(descriptor_, bytes.data(), std::min(bytes.size(), kMaxCallBytes),
                 static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return SystemError(path_, "write " + std::to_string(bytes.size()) + " bytes",
                         written < 0 ? errno : ENOSPC);
    }
    offset += static_cast<uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return OkStatus();
}

Status OutputFile::ReadAt(uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(descriptor_, bytes.data(), std::min(bytes.size(), kMaxCallBytes),
                                static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return SystemError(path_, "read back", got < 0 ? errno : EIO);
    offset += static_cast<uint64_t>(got);
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  return OkStatus();
}

Status OutputFile::Finish() {
  if (::fsync(descriptor_) != 0) return SystemError(path_, "flush", errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) return SystemError(path_, "close", errno);
  return OkStatus();
}

Status WriteWholeFile(const std::filesystem::path& path, std::string_view contents) {
  NPUMOE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  NPUMOE_RETURN_IF_ERROR(file.Append(std::as_bytes(std::span(contents))));
  return file.Finish();
}

Status FlushFolder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return SystemError(folder, "open the folder", errno);
  const bool flushed = ::fsync(descriptor) == 0;
  const int error_number = errno;
  ::close(descriptor);
  // Some network file systems refuse to flush a folder; they order renames themselves.
  if (flushed || error_number == EINVAL || error_number == ENOTSUP) return OkStatus();
  return SystemError(folder, "flush the folder", error_number);
}

Result<StagingFolder> StagingFolder::Create(const std::filesystem::path& target) {
  std::filesystem::path parent = target.parent_path();
  if (parent.empty()) parent = ".";
  std::string name = (parent / ("." + target.filename().string() + ".XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr) {
    const int error_number = errno;
    if (error_number == ENOENT) {
      return NotFound(parent.string() + ": no such folder, so " + target.filename().string() +
                      " cannot be written there; create the folder first");
    }
    return SystemError(parent, "create a folder in it", error_number);
  }
  return StagingFolder(name);
}

StagingFolder::StagingFolder(StagingFolder&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

StagingFolder::~StagingFolder() {
  std::error_code ignored;  // a destructor has nobody to tell; the folder is hidden and named
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace npumoe
