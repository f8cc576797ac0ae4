#include "base/temporary_folder.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <utility>

namespace npumoe {
namespace {

TEST(TemporaryFolder, IsThereAndGoesWithWhatIsInIt) {
  std::filesystem::path path;
  {
    Result<TemporaryFolder> made = TemporaryFolder::Create("npumoe-test");
    ASSERT_TRUE(made.ok()) << made.status().message();
    const TemporaryFolder folder = *std::move(made);
    path = folder.path();
    EXPECT_TRUE(path.filename().string().starts_with("npumoe-test-"));
    std::ofstream(path / "file") << "text";
    EXPECT_TRUE(std::filesystem::exists(path / "file"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(TemporaryFolder, TwoOfOneNameDiffer) {
  const auto one = TemporaryFolder::Create("npumoe-test");
  const auto other = TemporaryFolder::Create("npumoe-test");
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_NE(one->path(), other->path());
}

TEST(TemporaryFolder, InMemoryIsSomewhereOnAnySystem) {
  const auto made = TemporaryFolder::Create("npumoe-test", TemporaryFolder::Place::kMemory);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_TRUE(std::filesystem::is_directory(made->path()));
  if (std::filesystem::is_directory("/dev/shm")) {
    EXPECT_EQ(made->path().parent_path(), "/dev/shm");
  }
}

TEST(TemporaryFolder, ThatCannotBeMadeSaysWhatToDo) {
  const auto made = TemporaryFolder::Create("no/such/folder");
  ASSERT_FALSE(made.ok());
  EXPECT_NE(made.status().message().find("set TMPDIR"), std::string::npos);
}

}  // namespace
}  // namespace npumoe
