// What lies in the cache of compiled packages, for `npumoe doctor`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace npumoe::cli {

struct CacheEntry {
  std::string name;  // "a.mlpackage", or "coreml/0123-24F74": devices keep theirs in folders
  double bytes = 0;
};

struct CacheFacts {
  std::vector<CacheEntry> entries;  // largest first
  int64_t packages = 0;
  double bytes = 0;
};

// What cannot be read counts as empty.
CacheFacts DescribeCache(const std::filesystem::path& cache);

}  // namespace npumoe::cli
