#include "npu/package_cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/mapped_file.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFiles = 64;  // chosen: packages have three or four
constexpr size_t kMaxManifestBytes = 1 << 20;

bool AddFile(const fs::path& path, Hasher& hasher) {
  struct stat file {};
  std::error_code error;
  const fs::file_time_type modified = fs::last_write_time(path, error);  // finer than stat's
  if (error || stat(path.c_str(), &file) != 0) return false;
  hasher.Add(path.native()).Add(static_cast<int64_t>(file.st_dev));
  hasher.Add(static_cast<int64_t>(file.st_ino)).Add(static_cast<int64_t>(file.st_size));
  hasher.Add(static_cast<int64_t>(modified.time_since_epoch().count()));
  hasher.Add(static_cast<int64_t>(file.st_ctime));
  return true;
}

}  // namespace

std::string PackageIdentity(const fs::path& package) {
  const auto manifest = ReadTextFile(package / "Manifest.json", kMaxManifestBytes);
  if (!manifest.ok()) return "";
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(package, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    files.push_back(entry->path());
    if (files.size() > kMaxFiles) return "";
  }
  if (error) return "";
  std::sort(files.begin(), files.end());
  Hasher hasher;
  hasher.Add(*manifest);
  for (const fs::path& file : files) {
    if (!AddFile(file, hasher)) return "";
  }
  return hasher.Hex();
}

std::shared_ptr<PackageCache::Entry> PackageCache::EntryOf(const fs::path& path) {
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [](const auto& item) {
    Entry& entry = *item.second;
    const std::unique_lock reading(entry.mutex, std::try_to_lock);
    return reading.owns_lock() && entry.package.expired() && item.second.use_count() == 1;
  });
  std::shared_ptr<Entry>& entry = entries_[path];
  if (entry == nullptr) entry = std::make_shared<Entry>();
  return entry;
}

Result<std::shared_ptr<const Mlpackage>> PackageCache::Get(const fs::path& path) {
  const std::shared_ptr<Entry> entry = EntryOf(path);
  const std::lock_guard reading(entry->mutex);
  const std::string identity = PackageIdentity(path);
  if (!identity.empty() && entry->identity == identity) {
    if (auto package = entry->package.lock()) return package;
  }
  NPUMOE_ASSIGN_OR_RETURN(Mlpackage read, ReadMlpackage(path));
  auto package = std::make_shared<const Mlpackage>(std::move(read));
  entry->identity = identity;
  entry->package = package;
  return package;
}

}  // namespace npumoe
