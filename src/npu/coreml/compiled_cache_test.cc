#include "npu/coreml/compiled_cache.h"

#include <gtest/gtest.h>

#include <chrono>

#include "graph/testing/package_files.h"
#include "graph/testing/sample_graphs.h"
#include "npu/coreml/folder_contents.h"

namespace npumoe::coreml_device {
namespace {

namespace fs = std::filesystem;

class CompiledCacheTest : public ::testing::Test {
 protected:
  std::shared_ptr<CompiledCache> Open(int64_t max_bytes = 1'000'000) {
    auto cache = CompiledCache::Open(root_, max_bytes);
    EXPECT_TRUE(cache.ok()) << cache.status().message();
    return *std::move(cache);
  }
  // A compiled model of `bytes`, to be moved.
  fs::path Compiled(size_t bytes = 1000) {
    const fs::path folder = folder_ / ("compiled" + std::to_string(++made_));
    fs::create_directories(folder / "weights");
    testing::WriteBytes(folder / "weights" / "weight.bin", std::string(bytes, 'w'));
    testing::WriteBytes(folder / "model.mil", "program");
    return folder;
  }
  std::shared_ptr<CachedModel> Stored(CompiledCache& cache, const std::string& hash,
                                      size_t bytes = 1000) {
    auto stored = cache.Store({hash, "24F74"}, Compiled(bytes));
    EXPECT_TRUE(stored.ok()) << stored.status().message();
    return *std::move(stored);
  }
  // As if it had been used that long ago.
  void Age(const std::string& hash, int hours) {
    fs::last_write_time(root_ / (hash + "-24F74") / "contents.json",
                        fs::file_time_type::clock::now() - std::chrono::hours(hours));
  }
  bool Has(const std::string& hash) { return fs::exists(root_ / (hash + "-24F74")); }

  const testing::ScratchFolder folder_;
  const fs::path root_ = folder_ / "deep" / "cache";
  int made_ = 0;
};

TEST_F(CompiledCacheTest, FindsWhatWasStored) {
  const auto cache = Open();
  EXPECT_EQ(cache->Find({"a", "24F74"}).model, nullptr);
  const auto stored = Stored(*cache, "a");
  const auto found = Open()->Find({"a", "24F74"});
  ASSERT_NE(found.model, nullptr);
  EXPECT_EQ(found.model->compiled(), root_ / "a-24F74" / "model.mlmodelc");
  EXPECT_TRUE(fs::exists(found.model->compiled() / "weights" / "weight.bin"));
}

TEST_F(CompiledCacheTest, SaysWhyItCompilesAgain) {
  const auto cache = Open();
  Stored(*cache, "a");
  const auto found = cache->Find({"a", "24G90"});
  EXPECT_EQ(found.model, nullptr);
  EXPECT_EQ(found.reason, "it was compiled for OS build 24F74; this is 24G90");
  fs::remove(root_ / "a-24F74" / "model.mlmodelc" / "model.mil");
  EXPECT_EQ(cache->Find({"a", "24F74"}).reason,
            "what was compiled is damaged: model.mil differs from what was stored");
  EXPECT_FALSE(Has("a"));
}

TEST_F(CompiledCacheTest, RemovesWhatWasUsedLongestAgoWhenTheBoundIsReached) {
  const auto cache = Open(5000);
  for (const std::string hash : {"a", "b", "c"}) Stored(*cache, hash);
  Age("a", 2);
  Age("b", 3);
  Age("c", 1);
  Stored(*cache, "d", 2500);
  EXPECT_TRUE(!Has("b") && !Has("a") && Has("c") && Has("d"));
}

TEST_F(CompiledCacheTest, KeepsWhatIsInUseEvenBeyondTheBound) {
  const auto cache = Open(2500);
  const auto in_use = Stored(*cache, "a");
  Stored(*cache, "b");
  Age("a", 2);
  const auto other_process = Open(2500);
  Stored(*other_process, "c", 3000);
  EXPECT_TRUE(Has("a") && !Has("b") && Has("c"));
  EXPECT_FALSE(other_process->Discard({"a", "24F74"}));
}

TEST_F(CompiledCacheTest, UseCountsAsUse) {
  const auto cache = Open(4000);
  Stored(*cache, "a");
  Stored(*cache, "b");
  Age("a", 3);
  Age("b", 2);
  cache->Find({"a", "24F74"});
  Stored(*cache, "c", 1500);
  EXPECT_TRUE(Has("a") && !Has("b") && Has("c"));
}

TEST_F(CompiledCacheTest, TakesTheEntryOfAFasterProcess) {
  const auto mine = Open(), theirs = Open();
  const auto first = Stored(*theirs, "a");
  const auto second = Stored(*mine, "a");
  EXPECT_EQ(first->entry(), second->entry());
}

TEST_F(CompiledCacheTest, DiscardsWhatNobodyUses) {
  const auto cache = Open();
  auto stored = Stored(*cache, "a");
  EXPECT_FALSE(cache->Discard({"a", "24F74"}));
  stored.reset();
  EXPECT_TRUE(cache->Discard({"a", "24F74"}));
  EXPECT_FALSE(cache->Discard({"a", "24F74"}));
}

TEST_F(CompiledCacheTest, ATemporaryRootGoesWithTheLastModel) {
  auto cache = *CompiledCache::Open({}, 1'000'000);
  const fs::path root = cache->root();
  auto stored = *cache->Store({"a", "b"}, Compiled());
  cache.reset();
  EXPECT_TRUE(fs::exists(stored->compiled()));
  stored.reset();
  EXPECT_FALSE(fs::exists(root));
}

TEST_F(CompiledCacheTest, LeavesNothingBehindWhenStoringFails) {
  const auto cache = Open();
  EXPECT_FALSE(cache->Store({"a", "b"}, folder_ / "absent").ok());
  EXPECT_TRUE(fs::is_empty(root_));
}

TEST_F(CompiledCacheTest, ClearsWhatAKilledProcessLeftADayAgo) {
  Open();
  const fs::path old = root_ / ".a-24F74.AAAAAA", fresh = root_ / ".a-24F74.BBBBBB";
  fs::create_directories(old / "entry");
  fs::create_directories(fresh / "entry");
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(25));
  Open();
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(fresh));
}

TEST_F(CompiledCacheTest, RefusesARootThatCannotBeMade) {
  testing::WriteBytes(folder_ / "deep", "a file");
  EXPECT_FALSE(CompiledCache::Open(root_, 1).ok());
}

TEST(HashPackage, DependsOnEveryNameAndByte) {
  const testing::ScratchFolder folder;
  const auto hash_of = [&](const std::string& name, const std::string& bytes) {
    fs::remove_all(folder / "p");
    fs::create_directories(folder / "p");
    testing::WriteBytes(folder / "p" / "fixed", "x");
    testing::WriteBytes(folder / "p" / name, bytes);
    return *HashPackage(folder / "p");
  };
  EXPECT_EQ(hash_of("a", "1"), hash_of("a", "1"));
  EXPECT_NE(hash_of("a", "1"), hash_of("b", "1"));
  EXPECT_NE(hash_of("a", "1"), hash_of("a", "2"));
  EXPECT_NE(hash_of("a", "1"), hash_of("a", "11"));
  EXPECT_FALSE(HashPackage(folder / "absent").ok());
}

TEST(FolderContents, RefusesDamagedText) {
  for (const char* text : {"", "{}", R"({"format":"npumoe-compiled-model","version":1})",
                           R"({"format":"x","version":1,"files":[]})",
                           R"({"format":"npumoe-compiled-model","version":1,
                               "files":[{"path":"a","bytes":-1,"hash":""}]})"}) {
    EXPECT_FALSE(ParseContents(text, "contents.json").ok()) << text;
  }
  const FolderContents contents{{{"a/b", 7, "h"}, {"c", 9, ""}}};
  EXPECT_EQ(*ParseContents(SerializeContents(contents), "x"), contents);
  EXPECT_EQ(contents.bytes(), 16);
}

}  // namespace
}  // namespace npumoe::coreml_device
