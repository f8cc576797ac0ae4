// CacheStaging: a private folder inside a cache in which a compile prepares packages before one
// rename publishes them. Its owner holds a lock on a file inside; a folder whose lock is free
// belongs to a process that died, and the next compile removes it.
#pragma once

#include <filesystem>
#include <memory>

#include "base/status.h"

namespace npumoe {

class CacheStaging {
 public:
  // Makes `cache` where it is missing, removes what dead compiles left in it, and makes a folder.
  static Result<std::unique_ptr<CacheStaging>> Create(const std::filesystem::path& cache);
  // Removes the folder with everything in it.
  ~CacheStaging();
  CacheStaging(const CacheStaging&) = delete;
  CacheStaging& operator=(const CacheStaging&) = delete;

  const std::filesystem::path& path() const { return path_; }

  enum class Published { kByUs, kByAnother };
  // Renames STAGING/name to CACHE/name. When another process published the same name first, ours
  // is dropped: equal names mean equal contents.
  Result<Published> Publish(const std::string& name);
  // Moves CACHE/name away, so that it can be published again. Readers that have it mapped keep
  // what they mapped. Fine when it is not there.
  Status Withdraw(const std::string& name);

 private:
  CacheStaging(std::filesystem::path cache, std::filesystem::path path, int lock)
      : cache_(std::move(cache)), path_(std::move(path)), lock_(lock) {}
  std::filesystem::path cache_;
  std::filesystem::path path_;
  int lock_;  // file descriptor
  int withdrawn_ = 0;
};

}  // namespace npumoe
