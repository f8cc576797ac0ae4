#include "runtime/cache_staging.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

namespace npumoe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = ".staging-";
constexpr const char* kLockName = "owner.lock";
// Chosen: between making a folder and locking it a process needs microseconds.
constexpr std::chrono::hours kUnlockedGrace{1};
constexpr int kAttempts = 16;  // chosen: each is lost only to a sweep in the same microseconds

Status SystemError(const std::string& what, const fs::path& path, int error) {
  const std::string message =
      fmt::format("{}: cannot {}: {}", path.string(), what, std::strerror(error));
  const bool full = error == ENOSPC || error == EDQUOT;
  return full ? ResourceExhausted(message + "; free some space or choose another cache folder")
              : IoError(message);
}

// Whether the folder's owner is gone.
bool IsStale(const fs::path& folder) {
  std::error_code error;
  const int lock = open((folder / kLockName).c_str(), O_RDWR | O_CLOEXEC);
  if (lock < 0) {
    const auto written = fs::last_write_time(folder, error);
    return !error && fs::file_time_type::clock::now() - written > kUnlockedGrace;
  }
  const bool is_free = flock(lock, LOCK_EX | LOCK_NB) == 0;
  close(lock);
  return is_free;
}

void RemoveStale(const fs::path& cache) {
  std::error_code error;
  for (fs::directory_iterator it(cache, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.rfind(kPrefix, 0) != 0 || !IsStale(it->path())) continue;
    std::error_code ignored;  // what cannot be removed now is tried by the next compile
    fs::remove_all(it->path(), ignored);
  }
}

// Locks a file that still has its name (a sweep may have removed the folder in between).
int LockOwnerFile(const fs::path& folder) {
  const int lock =
      open((folder / kLockName).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (lock < 0) return -1;
  struct stat status {};
  if (flock(lock, LOCK_EX | LOCK_NB) == 0 && fstat(lock, &status) == 0 && status.st_nlink > 0) {
    return lock;
  }
  close(lock);
  return -1;
}

}  // namespace

Result<std::unique_ptr<CacheStaging>> CacheStaging::Create(const fs::path& cache) {
  std::error_code error;
  fs::create_directories(cache, error);
  if (error) return SystemError("make the folder", cache, error.value());
  RemoveStale(cache);
  int lock_error = 0;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::string path = (cache / (std::string(kPrefix) + "XXXXXX")).string();
    if (mkdtemp(path.data()) == nullptr) return SystemError("make a folder in it", cache, errno);
    const int lock = LockOwnerFile(path);
    if (lock >= 0) {
      return std::unique_ptr<CacheStaging>(new CacheStaging(cache, path, lock));
    }
    lock_error = errno;
    fs::remove_all(path, error);
  }
  return SystemError("lock a folder in it", cache, lock_error);
}

CacheStaging::~CacheStaging() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  close(lock_);
}

Result<CacheStaging::Published> CacheStaging::Publish(const std::string& name) {
  std::error_code error;
  fs::rename(path_ / name, cache_ / name, error);
  if (!error) return Published::kByUs;
  if (error.value() == ENOTEMPTY || error.value() == EEXIST) return Published::kByAnother;
  return SystemError("move the finished package into place", cache_ / name, error.value());
}

Status CacheStaging::Withdraw(const std::string& name) {
  std::error_code error;
  fs::rename(cache_ / name, path_ / fmt::format("withdrawn-{}", withdrawn_++), error);
  if (!error || error.value() == ENOENT) return OkStatus();
  return SystemError("replace the unreadable package", cache_ / name, error.value());
}

}  // namespace npumoe
