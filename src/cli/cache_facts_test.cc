#include "cli/cache_facts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "model/test_folder.h"

namespace npumoe::cli {
namespace {

namespace fs = std::filesystem;

void Add(const TestFolder& cache, const std::string& name, size_t bytes) {
  fs::create_directories((cache.path() / name).parent_path());
  cache.Write(name, std::string(bytes, 'w'));
}

TEST(DescribeCache, GivesEntriesAndThoseOfFoldersLargestFirst) {
  const TestFolder cache;
  Add(cache, "a.mlpackage/weight.bin", 3000);
  Add(cache, "coreml/0123-24F74/model.mlmodelc/weight.bin", 7000);
  const CacheFacts facts = DescribeCache(cache.path());
  ASSERT_EQ(facts.entries.size(), 2u);
  EXPECT_EQ(facts.entries[0].name, "coreml/0123-24F74");
  EXPECT_EQ(facts.entries[1].name, "a.mlpackage");
  EXPECT_EQ(facts.packages, 1);
  EXPECT_EQ(facts.bytes, 10000);
}

// A user who is not root, for as long as it lives.
class NotRoot {
 public:
  NotRoot() {
    constexpr uid_t kNobody = 65534;
    if (::geteuid() == 0) is_changed_ = ::seteuid(kNobody) == 0;
  }
  ~NotRoot() {
    if (is_changed_ && ::seteuid(0) != 0) ADD_FAILURE() << "root again";
  }

 private:
  bool is_changed_ = false;
};

TEST(DescribeCache, CountsTheRestWhereAFolderCannotBeRead) {
  const TestFolder cache;
  Add(cache, "a.mlpackage/closed/weight.bin", 1000);
  Add(cache, "a.mlpackage/weight.bin", 3000);
  Add(cache, "b.mlpackage/weight.bin", 2000);
  fs::permissions(cache.path(), fs::perms::all);
  fs::permissions(cache.path() / "a.mlpackage/closed", fs::perms::none);
  CacheFacts facts;
  {
    const NotRoot user;
    if (::geteuid() == 0) GTEST_SKIP() << "root reads everything and cannot be somebody else here";
    facts = DescribeCache(cache.path());
  }
  fs::permissions(cache.path() / "a.mlpackage/closed", fs::perms::all);
  EXPECT_EQ(facts.bytes, 5000);
  EXPECT_EQ(facts.packages, 2);
}

TEST(DescribeCache, OfAFolderThatIsNotThereIsEmpty) {
  EXPECT_TRUE(DescribeCache("/absent/cache").entries.empty());
}

}  // namespace
}  // namespace npumoe::cli
