#include "cli/convert_output.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "model/test_folder.h"

namespace npumoe::cli {
namespace {

namespace fs = std::filesystem;

std::string ErrorOf(const fs::path& in, const fs::path& out) {
  const Status status = CheckOutput(in.string(), out.string(), Replace::kOutput);
  return status.ok() ? "no error" : status.message();
}

std::string TextOf(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> NamesIn(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

TEST(CheckOutput, RefusesTheGgufOfTheFolderThatIsRead) {
  const TestFolder folder;
  const fs::path model = folder.Write("m.gguf", "a model");
  EXPECT_NE(ErrorOf(folder.path(), model).find("the file that is read"), std::string::npos);
  EXPECT_EQ(ErrorOf(folder.path(), folder.path() / "other.gguf"), "no error");
}

TEST(CheckOutput, RefusesEveryPartOfTheSplitThatIsRead) {
  const TestFolder folder;
  folder.Write("m-00001-of-00002.gguf", "a part");
  const fs::path second = folder.Write("m-00002-of-00002.gguf", "a part");
  EXPECT_NE(ErrorOf(folder.path(), second).find("a part of it"), std::string::npos);
}

TEST(CheckOutput, RefusesTheFolderThatHoldsTheGguf) {
  const TestFolder folder;
  folder.Write("m.gguf", "a model");
  EXPECT_NE(ErrorOf(folder.path(), folder.path()).find("holds the model"), std::string::npos);
}

TEST(WriteFolderInPlace, BringsTheOldFolderBackWhenTheNewOneCannotBePutInPlace) {
  const TestFolder folder;
  const fs::path out = folder.path() / "out";
  fs::create_directory(out);
  folder.Write("out/config.json", "precious");
  const auto report = WriteFolderInPlace(out.string(), [](const fs::path& finished) {
    fs::remove_all(finished);  // so that it cannot be moved
    return Result<ConvertReport>(ConvertReport());
  });
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.status().message().find("cannot be put in place"), std::string::npos);
  EXPECT_EQ(TextOf(out / "config.json"), "precious");
  EXPECT_EQ(NamesIn(folder.path()), std::vector<std::string>{"out"});
}

TEST(WriteFolderInPlace, LeavesNothingOfTheOldFolder) {
  const TestFolder folder;
  const fs::path out = folder.path() / "out";
  fs::create_directory(out);
  folder.Write("out/config.json", "old");
  const auto report = WriteFolderInPlace(out.string(), [](const fs::path& finished) {
    std::ofstream(finished / "model.safetensors") << "written";
    return Result<ConvertReport>(ConvertReport());
  });
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(NamesIn(out), std::vector<std::string>{"model.safetensors"});
  EXPECT_EQ(NamesIn(folder.path()), std::vector<std::string>{"out"});
}

}  // namespace
}  // namespace npumoe::cli
