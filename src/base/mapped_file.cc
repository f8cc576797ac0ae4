#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "base/atomic_file.h"

#if defined(__SANITIZE_ADDRESS__)  // g++
#define NPUMOE_HAS_ADDRESS_SANITIZER
#elif defined(__has_feature)  // clang
#if __has_feature(address_sanitizer)
#define NPUMOE_HAS_ADDRESS_SANITIZER
#endif
#endif
#ifdef NPUMOE_HAS_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace npumoe {
namespace {

#ifdef NPUMOE_HAS_ADDRESS_SANITIZER
// Behind the end of a file its last page reads as zeros. The sanitizer forbids that part, so that
// it finds readers that go too far.
size_t BytesToEndOfPage(size_t size) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return (page - size % page) % page;
}
void ForbidBehind(const std::byte* data, size_t size) {
  ASAN_POISON_MEMORY_REGION(data + size, BytesToEndOfPage(size));
}
void AllowBehind(const std::byte* data, size_t size) {
  ASAN_UNPOISON_MEMORY_REGION(data + size, BytesToEndOfPage(size));
}
#else
void ForbidBehind(const std::byte*, size_t) {}
void AllowBehind(const std::byte*, size_t) {}
#endif

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
    ForbidBehind(mapped->data_, size);
  }
  return std::shared_ptr<const MappedFile>(std::move(mapped));
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  AllowBehind(data_, size_);
  ::munmap(const_cast<std::byte*>(data_), size_);
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

// A device, pipe or terminal cannot be replaced by a rename; it takes the bytes as they come.
Status WriteToDevice(const std::filesystem::path& path, std::span<const std::string_view> pieces) {
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.open()) return WriteError(path, errno);
  for (std::string_view piece : pieces) {
    while (!piece.empty()) {
      const ssize_t written = ::write(file.get(), piece.data(), piece.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return WriteError(path, errno);
      piece.remove_prefix(static_cast<size_t>(written));
    }
  }
  return file.Close() ? OkStatus() : WriteError(path, errno);
}

bool IsDevice(const std::filesystem::path& path) {
  std::error_code ignored;  // a target that cannot be examined fails when it is created
  const auto kind = std::filesystem::status(path, ignored).type();
  return kind != std::filesystem::file_type::regular &&
         kind != std::filesystem::file_type::directory && std::filesystem::exists(path, ignored);
}

}  // namespace

Status WriteFileAtomically(const std::filesystem::path& path, std::string_view contents) {
  return WriteFileAtomically(path, std::span(&contents, 1));
}

Status WriteFileAtomically(const std::filesystem::path& path,
                           std::span<const std::string_view> pieces) {
  if (IsDevice(path)) return WriteToDevice(path, pieces);
  NPUMOE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  for (const std::string_view piece : pieces) NPUMOE_RETURN_IF_ERROR(file.Append(piece));
  return file.Commit();
}

}  // namespace npumoe
