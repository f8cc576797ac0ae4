// PackageCache: packages by path, so that the functions of one package (capacity buckets) share
// its mapped weights, and so that it is read and hashed once. A package stays as long as something
// uses it.
//
// Thread rules: every function from any thread.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/status.h"
#include "graph/mlpackage.h"

namespace npumoe::openvino {

class PackageCache {
 public:
  // Reads the package, or gives the one that is in use. A package that was replaced in the meantime
  // is read again.
  Result<std::shared_ptr<const Mlpackage>> Get(const std::filesystem::path& path);

 private:
  struct Entry {
    std::string identity;
    std::weak_ptr<const Mlpackage> package;
  };
  std::mutex mutex_;
  std::map<std::filesystem::path, Entry> entries_;
};

}  // namespace npumoe::openvino
