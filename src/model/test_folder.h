// For tests only: a folder that lives as long as the object, and the data that lies beside a
// developer's checkout.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace npumoe {

class TestFolder {
 public:
  TestFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "npumoe-model-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path Write(const std::string& name, std::string_view contents) const {
    std::ofstream(path_ / name, std::ios::binary) << contents;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path SharedData(const std::string& name) {
  return std::filesystem::path(NPUMOE_SOURCE_DIR "/../shared/data") / name;
}

}  // namespace npumoe

// Skips the test where `path` is absent; in CI that is a failure.
#define NPUMOE_NEEDS_DATA(path)                                                          \
  if (!std::filesystem::exists(path)) {                                                  \
    const char* ci = std::getenv("CI");                                                  \
    if (ci != nullptr && std::string_view(ci) == "true") FAIL() << path << " is absent"; \
    GTEST_SKIP() << path << " is absent";                                                \
  }
