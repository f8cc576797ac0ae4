#include "npu/package_cache.h"

#include <gtest/gtest.h>

#include <thread>

#include "graph/testing/package_files.h"
#include "graph/testing/sample_graphs.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;
using testing::ExpertGraph;

class PackageCacheTest : public ::testing::Test {
 protected:
  fs::path Write(int64_t rows = 8, const std::string& name = "p.mlpackage") {
    const std::vector<Graph> functions = {
        ExpertGraph(GraphForm::kDenseChains, {32, 16}, {rows}, "main"),
        ExpertGraph(GraphForm::kDenseChains, {32, 16}, {2 * rows}, "more")};
    const Status status = WriteMlpackage(folder_ / name, functions, {});
    EXPECT_TRUE(status.ok()) << status.message();
    return folder_ / name;
  }
  std::shared_ptr<const Mlpackage> Get(const fs::path& package) {
    auto read = cache_.Get(package);
    EXPECT_TRUE(read.ok()) << read.status().message();
    return read.ok() ? *std::move(read) : nullptr;
  }
  static int64_t RowsOf(const Mlpackage& package) {
    return package.functions.front().inputs[0].shape[3];
  }

  testing::ScratchFolder folder_;
  PackageCache cache_;
};

TEST_F(PackageCacheTest, GivesThePackageThatIsInUse) {
  const fs::path path = Write();
  const auto package = Get(path);
  EXPECT_EQ(Get(path), package);
  EXPECT_NE(Get(Write(8, "other.mlpackage")), package);
}

TEST_F(PackageCacheTest, KeepsNothingThatNobodyUses) {
  const std::weak_ptr<const Mlpackage> package = Get(Write());
  EXPECT_TRUE(package.expired());
}

TEST_F(PackageCacheTest, ReadsAgainWhatWasReplaced) {
  const auto before = Get(Write(8));
  const auto after = Get(Write(16));
  EXPECT_EQ(RowsOf(*before), 8);
  EXPECT_EQ(RowsOf(*after), 16);
}

// The folder itself does not change, nor does the size of any file, and the clock of a file system
// may tick seldom.
TEST_F(PackageCacheTest, NoticesWeightsThatWereOverwrittenInPlace) {
  const fs::path path = Write(), weights = testing::WeightFile(path);
  const auto before = Get(path);
  const auto time = fs::last_write_time(weights);
  std::string bytes = testing::ReadBytes(weights);
  bytes[bytes.size() / 2] ^= 0x40;
  testing::WriteBytes(weights, bytes);
  fs::last_write_time(weights, time + std::chrono::nanoseconds(1));
  const Status damaged = cache_.Get(path).status();
  EXPECT_EQ(damaged.code(), StatusCode::kInvalidInput);
}

TEST_F(PackageCacheTest, NoticesAnotherManifest) {
  const fs::path path = Write();
  const std::string before = PackageIdentity(path);
  EXPECT_EQ(PackageIdentity(path), before);
  const fs::path manifest = testing::ManifestFile(path);
  testing::WriteBytes(manifest, testing::ReadBytes(manifest) + "\n");
  EXPECT_NE(PackageIdentity(path), before);
}

TEST_F(PackageCacheTest, TakesNoIdentityFromWhatIsNoPackage) {
  EXPECT_EQ(PackageIdentity(folder_ / "none.mlpackage"), "");
  const fs::path path = Write();
  fs::create_directory_symlink(path / "nowhere", path / "dangling");
  EXPECT_EQ(PackageIdentity(path), "");
  EXPECT_NE(Get(path), Get(path));  // read each time
}

TEST_F(PackageCacheTest, GivesAllThreadsTheSamePackage) {
  const fs::path path = Write();
  const auto expected = Get(path);
  std::vector<std::shared_ptr<const Mlpackage>> packages(8);
  std::vector<std::thread> threads;
  for (auto& package : packages) threads.emplace_back([&] { package = *cache_.Get(path); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& package : packages) EXPECT_EQ(package, expected);
}

}  // namespace
}  // namespace npumoe
