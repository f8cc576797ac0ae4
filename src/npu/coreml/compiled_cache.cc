#include "npu/coreml/compiled_cache.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <vector>

#include "base/log.h"
#include "base/mapped_file.h"
#include "graph/output_file.h"
#include "npu/coreml/folder_contents.h"

namespace npumoe::coreml_device {
namespace {

namespace fs = std::filesystem;

constexpr const char* kContentsName = "contents.json";
constexpr const char* kCompiledName = "model.mlmodelc";
constexpr size_t kMaxContentsBytes = size_t{16} << 20;  // chosen: far above any compiled model's
constexpr auto kStaleAfter = std::chrono::hours(24);    // chosen: no compile takes a day

struct TemporaryRoot {
  explicit TemporaryRoot(fs::path folder) : path(std::move(folder)) {}
  ~TemporaryRoot() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  TemporaryRoot(const TemporaryRoot&) = delete;
  TemporaryRoot& operator=(const TemporaryRoot&) = delete;
  fs::path path;
};

Result<std::shared_ptr<TemporaryRoot>> MakeTemporaryRoot() {
  std::error_code error;
  fs::path parent = fs::temp_directory_path(error);
  if (error) parent = "/tmp";
  std::string name = (parent / "npumoe-coreml-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    return SystemError(parent, "create a folder in it", errno);
  }
  return std::make_shared<TemporaryRoot>(name);
}

// Takes `entry` away as a whole, so that nobody finds half of it.
bool Remove(const fs::path& entry) {
  const auto staging = StagingFolder::Create(entry);
  return staging.ok() && std::rename(entry.c_str(), (staging->path() / "old").c_str()) == 0;
}

bool RemoveUnused(const fs::path& entry) {
  const auto lock = FileLock::TryOpen(entry / kContentsName, FileLock::Kind::kExclusive);
  return lock.has_value() && Remove(entry);
}

// Ok, or how the compiled model differs from what was stored.
Status CheckUndamaged(const fs::path& entry) {
  const fs::path path = entry / kContentsName;
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxContentsBytes));
  NPUMOE_ASSIGN_OR_RETURN(const FolderContents stored, ParseContents(text, path.string()));
  NPUMOE_ASSIGN_OR_RETURN(const FolderContents found, ListFolder(entry / kCompiledName));
  if (found == stored) return OkStatus();
  const auto differs = std::mismatch(found.files.begin(), found.files.end(), stored.files.begin(),
                                     stored.files.end());
  const std::string file = differs.second != stored.files.end() ? differs.second->path
                           : differs.first != found.files.end() ? differs.first->path
                                                                : std::string();
  return InvalidInput(fmt::format("{} differs from what was stored", file));
}

Status MoveFolder(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) == 0) return OkStatus();
  if (errno != EXDEV) return SystemError(to, "move the compiled model here", errno);
  std::error_code error;  // another file system
  fs::copy(from, to, fs::copy_options::recursive, error);
  if (error) return SystemError(to, "copy the compiled model here", error.value());
  return OkStatus();
}

int64_t BytesBelow(const fs::path& folder) {
  int64_t sum = 0;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code size_error;
    const auto size = entry->file_size(size_error);
    if (!size_error) sum += static_cast<int64_t>(size);
  }
  return sum;
}

struct EntryUse {
  fs::path path;
  fs::file_time_type used;
  int64_t bytes = 0;
};

std::vector<fs::path> FoldersIn(const fs::path& root) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(root, error)) {
    if (item.is_directory(error)) folders.push_back(item.path());
  }
  return folders;
}

bool IsHidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

// What a killed process left.
void RemoveStaleStaging(const fs::path& root) {
  for (const fs::path& folder : FoldersIn(root)) {
    std::error_code error;
    const auto written = fs::last_write_time(folder, error);
    if (error || !IsHidden(folder)) continue;
    if (fs::file_time_type::clock::now() - written > kStaleAfter) fs::remove_all(folder, error);
  }
}

}  // namespace

std::string CacheKey::FolderName() const {
  std::string build;
  for (const char c : os_build) build += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return package_hash + "-" + build;
}

Result<std::shared_ptr<CompiledCache>> CompiledCache::Open(const fs::path& root,
                                                           int64_t max_bytes) {
  if (root.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(const auto temporary, MakeTemporaryRoot());
    return std::shared_ptr<CompiledCache>(new CompiledCache(temporary->path, temporary, max_bytes));
  }
  std::error_code error;
  fs::create_directories(root, error);
  if (error) return SystemError(root, "create the folder", error.value());
  RemoveStaleStaging(root);
  return std::shared_ptr<CompiledCache>(new CompiledCache(root, nullptr, max_bytes));
}

CompiledCache::Found CompiledCache::Find(const CacheKey& key) {
  const fs::path entry = root_ / key.FolderName();
  auto lock = FileLock::TryOpen(entry / kContentsName, FileLock::Kind::kShared);
  if (!lock) {
    for (const fs::path& other : FoldersIn(root_)) {
      const std::string name = other.filename().string();
      if (name.starts_with(key.package_hash + "-") && name != key.FolderName()) {
        return {nullptr, fmt::format("it was compiled for OS build {}; this is {}",
                                     name.substr(key.package_hash.size() + 1), key.os_build)};
      }
    }
    return {};
  }
  if (const Status undamaged = CheckUndamaged(entry); !undamaged.ok()) {
    Remove(entry);
    return {nullptr, "what was compiled is damaged: " + undamaged.message()};
  }
  std::error_code ignored;  // only the order of eviction depends on it
  fs::last_write_time(entry / kContentsName, fs::file_time_type::clock::now(), ignored);
  return {std::shared_ptr<CachedModel>(new CachedModel(entry, *std::move(lock), owner_)), ""};
}

Result<std::shared_ptr<CachedModel>> CompiledCache::Store(const CacheKey& key,
                                                          const fs::path& compiled) {
  const fs::path entry = root_ / key.FolderName();
  NPUMOE_ASSIGN_OR_RETURN(const FolderContents contents, ListFolder(compiled));
  RemoveOtherBuilds(key);
  MakePlace(contents.bytes());
  NPUMOE_ASSIGN_OR_RETURN(const StagingFolder staging, StagingFolder::Create(entry));
  const fs::path made = staging.path() / "entry";
  std::error_code error;
  if (!fs::create_directory(made, error)) {
    return SystemError(made, "create the folder", error.value());
  }
  NPUMOE_RETURN_IF_ERROR(MoveFolder(compiled, made / kCompiledName));
  NPUMOE_RETURN_IF_ERROR(WriteWholeFile(made / kContentsName, SerializeContents(contents)));
  if (std::rename(made.c_str(), entry.c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST) {
    return SystemError(entry, "move the compiled model here", errno);
  }
  NPUMOE_RETURN_IF_ERROR(FlushFolder(root_));
  Found found = Find(key);
  if (found.model == nullptr) {
    return IoError(fmt::format("{}: gone or changed right after it was stored {}", entry.string(),
                               found.reason));
  }
  return std::move(found.model);
}

bool CompiledCache::Discard(const CacheKey& key) { return RemoveUnused(root_ / key.FolderName()); }

void CompiledCache::RemoveOtherBuilds(const CacheKey& key) {
  for (const fs::path& folder : FoldersIn(root_)) {
    const std::string name = folder.filename().string();
    if (name.starts_with(key.package_hash + "-") && name != key.FolderName()) RemoveUnused(folder);
  }
}

void CompiledCache::MakePlace(int64_t bytes) {
  std::vector<EntryUse> entries;
  int64_t sum = bytes;
  for (const fs::path& folder : FoldersIn(root_)) {
    std::error_code error;
    const auto used = fs::last_write_time(folder / kContentsName, error);
    if (error || IsHidden(folder)) continue;
    entries.push_back({folder, used, BytesBelow(folder)});
    sum += entries.back().bytes;
  }
  std::sort(entries.begin(), entries.end(),
            [](const EntryUse& a, const EntryUse& b) { return a.used < b.used; });
  for (const EntryUse& entry : entries) {
    if (sum <= max_bytes_) return;
    if (RemoveUnused(entry.path)) sum -= entry.bytes;
  }
  if (sum > max_bytes_) {
    LogDebug(fmt::format("{}: {} bytes of compiled models are in use, above the bound of {}",
                         root_.string(), sum, max_bytes_));
  }
}

}  // namespace npumoe::coreml_device
