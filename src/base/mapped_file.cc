#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace npumoe {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  // Some file systems report a failed write only here.
  bool Close() {
    const int fd = std::exchange(fd_, -1);
    return ::close(fd) == 0;
  }

 private:
  int fd_;
};

std::string ErrnoText(int error) { return std::generic_category().message(error); }

Status OpenError(const std::filesystem::path& path, int error) {
  if (error == ENOENT || error == ENOTDIR) {
    return NotFound(path.string() + ": no such file; check the path");
  }
  return IoError(path.string() + ": cannot be opened for reading: " + ErrnoText(error));
}

Status ReadError(const std::filesystem::path& path, int error) {
  return IoError(path.string() + ": cannot be read: " + ErrnoText(error));
}

Status FolderError(const std::filesystem::path& path) {
  return InvalidInput(path.string() + ": is a folder, a file is needed");
}

Status NotRegularError(const std::filesystem::path& path) {
  return InvalidInput(path.string() + ": is a device or pipe, a regular file is needed");
}

Status TooLargeError(const std::filesystem::path& path, size_t max_bytes) {
  return ResourceExhausted(path.string() + ": is larger than the " + std::to_string(max_bytes) +
                           " bytes allowed for such a file");
}

// read() until the end or until one byte more than max_bytes has come.
Result<std::string> ReadAll(int fd, const std::filesystem::path& path, size_t max_bytes) {
  std::string text;
  std::array<char, 65536> block;
  while (true) {
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ReadError(path, errno);
    if (got == 0) return text;
    if (static_cast<size_t>(got) > max_bytes - text.size()) return TooLargeError(path, max_bytes);
    text.append(block.data(), static_cast<size_t>(got));
  }
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer. It means nothing to regular files.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.open()) return OpenError(path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return ReadError(path, errno);
  if (S_ISDIR(info.st_mode)) return FolderError(path);
  if (!S_ISREG(info.st_mode)) return NotRegularError(path);

  std::shared_ptr<MappedFile> mapped(new MappedFile());
  mapped->path_ = path;
  const auto size = static_cast<size_t>(info.st_size);
  if (size > 0) {
    void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (memory == MAP_FAILED) {
      return IoError(path.string() + ": cannot be mapped into memory: " + ErrnoText(errno));
    }
    mapped->data_ = static_cast<const std::byte*>(memory);
    mapped->size_ = size;
  }
  return std::shared_ptr<const MappedFile>(std::move(mapped));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

Result<std::string> ReadTextFile(const std::filesystem::path& path, size_t max_bytes,
                                 FileKind allowed) {
  const int do_not_wait = allowed == FileKind::kRegularOnly ? O_NONBLOCK : 0;  // as in Open
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | do_not_wait));
  if (!file.open()) return OpenError(path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return ReadError(path, errno);
  if (S_ISDIR(info.st_mode)) return FolderError(path);
  if (!S_ISREG(info.st_mode) && allowed == FileKind::kRegularOnly) return NotRegularError(path);
  if (S_ISREG(info.st_mode) && static_cast<uint64_t>(info.st_size) > max_bytes) {
    return TooLargeError(path, max_bytes);
  }
  return ReadAll(file.get(), path, max_bytes);
}

namespace {

Status WriteError(const std::filesystem::path& path, int error) {
  const std::string what = path.string() + ": cannot be written: " + ErrnoText(error);
  if (error == ENOSPC || error == EDQUOT) {
    return ResourceExhausted(what + "; free some space or choose another folder");
  }
  return IoError(what);
}

Status WriteAll(int fd, std::string_view contents, const std::filesystem::path& path) {
  while (!contents.empty()) {
    const ssize_t written = ::write(fd, contents.data(), contents.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return WriteError(path, errno);
    contents.remove_prefix(static_cast<size_t>(written));
  }
  return OkStatus();
}

Status WritePieces(int fd, std::span<const std::string_view> pieces,
                   const std::filesystem::path& path) {
  for (const std::string_view piece : pieces) {
    NPUMOE_RETURN_IF_ERROR(WriteAll(fd, piece, path));
  }
  return OkStatus();
}

// A device, pipe or terminal cannot be replaced by a rename; it takes the bytes as they come.
Status WriteToDevice(const std::filesystem::path& path, std::span<const std::string_view> pieces) {
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.open()) return WriteError(path, errno);
  NPUMOE_RETURN_IF_ERROR(WritePieces(file.get(), pieces, path));
  return file.Close() ? OkStatus() : WriteError(path, errno);
}

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

Status WriteAndFlush(FileDescriptor& file, std::span<const std::string_view> pieces,
                     const std::filesystem::path& path) {
  NPUMOE_RETURN_IF_ERROR(WritePieces(file.get(), pieces, path));
  if (::fsync(file.get()) != 0) return WriteError(path, errno);
  return file.Close() ? OkStatus() : WriteError(path, errno);
}

}  // namespace

Status WriteFileAtomically(const std::filesystem::path& path, std::string_view contents) {
  return WriteFileAtomically(path, std::span(&contents, 1));
}

Status WriteFileAtomically(const std::filesystem::path& path,
                           std::span<const std::string_view> pieces) {
  std::error_code ignored;  // a target that cannot be examined fails below, with its reason
  const auto kind = std::filesystem::status(path, ignored).type();
  if (kind == std::filesystem::file_type::directory) return FolderError(path);
  if (kind != std::filesystem::file_type::regular && std::filesystem::exists(path, ignored)) {
    return WriteToDevice(path, pieces);
  }
  std::filesystem::path target = path;
  if (std::filesystem::is_symlink(path, ignored)) {
    target = std::filesystem::weakly_canonical(path, ignored);  // the link stays
    if (target.empty()) target = path;
  }

  std::filesystem::path temporary;
  FileDescriptor file(CreateTemporary(target, temporary));
  if (!file.open()) return WriteError(path, errno);
  Status status = WriteAndFlush(file, pieces, path);
  if (status.ok() && ::rename(temporary.c_str(), target.c_str()) != 0) {
    status = WriteError(path, errno);
  }
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

}  // namespace npumoe
