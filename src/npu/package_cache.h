// PackageCache: packages by path, so that the functions of one package (capacity buckets) share
// its mapped weights, and so that it is read and hashed once. A package stays as long as something
// uses it.
//
// Thread rules: every function from any thread; different packages are read at the same time.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/status.h"
#include "graph/mlpackage.h"

namespace npumoe {

// Differs when a file of the package was replaced or written to: its manifest, and of every file
// the place, the size and the times, as exact as the file system keeps them. Empty: unknown.
std::string PackageIdentity(const std::filesystem::path& package);

class PackageCache {
 public:
  // Reads the package, or gives the one that is in use. A package that changed in the meantime is
  // read again; who uses the one of before keeps it.
  Result<std::shared_ptr<const Mlpackage>> Get(const std::filesystem::path& path);

 private:
  struct Entry {
    std::mutex mutex;  // held while reading: nobody reads the same package twice
    std::string identity;
    std::weak_ptr<const Mlpackage> package;
  };
  std::shared_ptr<Entry> EntryOf(const std::filesystem::path& path);

  std::mutex mutex_;
  std::map<std::filesystem::path, std::shared_ptr<Entry>> entries_;
};

}  // namespace npumoe
