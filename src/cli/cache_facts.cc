#include "cli/cache_facts.h"

#include <algorithm>
#include <system_error>

namespace npumoe::cli {
namespace {

namespace fs = std::filesystem;

std::vector<fs::directory_entry> EntriesOf(const fs::path& folder) {
  std::vector<fs::directory_entry> entries;
  std::error_code error;  // ends the loop
  for (fs::directory_iterator item(folder, error); !error && item != fs::directory_iterator();
       item.increment(error)) {
    entries.push_back(*item);
  }
  return entries;
}

double SizeOf(const fs::directory_entry& file) {
  std::error_code error;
  const auto size = file.is_regular_file(error) ? file.file_size(error) : 0;
  return error ? 0 : static_cast<double>(size);
}

double BytesBelow(const fs::directory_entry& entry) {
  std::error_code error;
  if (!entry.is_directory(error)) return SizeOf(entry);
  double sum = 0;
  fs::recursive_directory_iterator item(entry.path(), fs::directory_options::skip_permission_denied,
                                        error);
  for (; !error && item != fs::recursive_directory_iterator(); item.increment(error)) {
    sum += SizeOf(*item);
  }
  return sum;
}

}  // namespace

CacheFacts DescribeCache(const fs::path& cache) {
  CacheFacts facts;
  for (const fs::directory_entry& entry : EntriesOf(cache)) {
    std::error_code ignored;  // what cannot be examined is no folder
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".mlpackage") ++facts.packages;
    if (!entry.is_directory(ignored) || !entry.path().extension().empty()) {
      facts.entries.push_back({name, BytesBelow(entry)});
      continue;
    }
    for (const fs::directory_entry& inner : EntriesOf(entry.path())) {
      facts.entries.push_back({name + "/" + inner.path().filename().string(), BytesBelow(inner)});
    }
  }
  std::ranges::sort(facts.entries, [](const CacheEntry& a, const CacheEntry& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.name < b.name;
  });
  for (const CacheEntry& entry : facts.entries) facts.bytes += entry.bytes;
  return facts;
}

}  // namespace npumoe::cli
