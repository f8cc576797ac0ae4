#include "base/temporary_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

namespace npumoe {

Result<TemporaryFolder> TemporaryFolder::Create(const std::string& name, Place place) {
  std::error_code error;
  const std::filesystem::path on_disk = std::filesystem::temp_directory_path(error);
  std::vector<std::filesystem::path> parents = {error ? "/tmp" : on_disk};
  if (place == Place::kMemory) parents.insert(parents.begin(), "/dev/shm");
  std::string path;
  for (const std::filesystem::path& parent : parents) {
    path = (parent / (name + "-XXXXXX")).string();
    if (::mkdtemp(path.data()) != nullptr) return TemporaryFolder(path);
  }
  return IoError("no temporary folder " + path + " can be made: " + std::strerror(errno) +
                 "; set TMPDIR");
}

TemporaryFolder::TemporaryFolder(TemporaryFolder&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace npumoe
