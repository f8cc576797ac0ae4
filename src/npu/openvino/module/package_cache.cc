#include "npu/openvino/module/package_cache.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <utility>

namespace npumoe::openvino {
namespace {

// Another file under the same name differs in one of these.
std::string IdentityOf(const std::filesystem::path& path) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0) return "";
  return fmt::format("{}:{}:{}:{}", file.st_dev, file.st_ino, file.st_mtime, file.st_ctime);
}

}  // namespace

Result<std::shared_ptr<const Mlpackage>> PackageCache::Get(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);  // held while reading: nobody reads the same package twice
  std::erase_if(entries_, [](const auto& entry) { return entry.second.package.expired(); });
  const std::string identity = IdentityOf(path);
  const auto it = entries_.find(path);
  if (it != entries_.end() && !identity.empty() && it->second.identity == identity) {
    if (auto package = it->second.package.lock()) return package;
  }
  NPUMOE_ASSIGN_OR_RETURN(Mlpackage read, ReadMlpackage(path));
  auto package = std::make_shared<const Mlpackage>(std::move(read));
  entries_[path] = {identity, package};
  return package;
}

}  // namespace npumoe::openvino
