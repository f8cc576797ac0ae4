// CompiledCache: what Core ML's compiler made of packages, kept on disk by the package's content
// and the OS build, so that a second start does not compile again. Each model stays at one path for
// good, because Core ML keeps the second, device-specific part of compiling by that path.
//
//   ROOT/PACKAGE_HASH-OS_BUILD/model.mlmodelc/...   as the compiler made it
//   ROOT/PACKAGE_HASH-OS_BUILD/contents.json        its files, to notice damage; locked while in
//   use ROOT/PACKAGE_HASH-OS_BUILD/verified.json        verified_record.h
//
// Entries appear whole, by a rename. Those used longest ago make place when the bound is reached;
// what any process uses stays, so that programs of one session may exceed the bound together.
//
// Thread rules: every function from any thread; several processes may share a root.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/status.h"
#include "npu/coreml/file_lock.h"

namespace npumoe::coreml_device {

struct CacheKey {
  std::string package_hash;
  std::string os_build;
  std::string FolderName() const;
};

// A compiled model in use: it is not evicted while this lives.
class CachedModel {
 public:
  const std::filesystem::path& entry() const { return entry_; }
  std::filesystem::path compiled() const { return entry_ / "model.mlmodelc"; }

 private:
  friend class CompiledCache;
  CachedModel(std::filesystem::path entry, FileLock lock, std::shared_ptr<const void> root)
      : entry_(std::move(entry)), lock_(std::move(lock)), root_(std::move(root)) {}
  std::filesystem::path entry_;
  FileLock lock_;
  std::shared_ptr<const void> root_;  // keeps a temporary root
};

class CompiledCache {
 public:
  // An empty `root`: a temporary folder that goes with the cache and the models from it.
  static Result<std::shared_ptr<CompiledCache>> Open(const std::filesystem::path& root,
                                                     int64_t max_bytes);

  struct Found {
    std::shared_ptr<CachedModel> model;  // null: compile
    std::string reason;                  // why there is none; empty: never compiled
  };
  // A damaged entry is removed.
  Found Find(const CacheKey& key);
  // Moves `compiled`, a folder, into the cache. Where another process was faster, its entry is
  // taken. Entries of the same package for other OS builds are removed.
  Result<std::shared_ptr<CachedModel>> Store(const CacheKey& key,
                                             const std::filesystem::path& compiled);
  // Removes an entry that nobody uses; whether it is gone.
  bool Discard(const CacheKey& key);

  const std::filesystem::path& root() const { return root_; }

 private:
  CompiledCache(std::filesystem::path root, std::shared_ptr<const void> owner, int64_t max_bytes)
      : root_(std::move(root)), owner_(std::move(owner)), max_bytes_(max_bytes) {}
  void RemoveOtherBuilds(const CacheKey& key);
  void MakePlace(int64_t bytes);

  const std::filesystem::path root_;
  const std::shared_ptr<const void> owner_;  // of a temporary root
  const int64_t max_bytes_;
};

}  // namespace npumoe::coreml_device
