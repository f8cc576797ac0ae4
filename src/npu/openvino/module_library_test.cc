#include "npu/openvino/module_library.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "npu/openvino/openvino_testing.h"

namespace npumoe::openvino {
namespace {

TEST(ModuleLibrary, IsWhereTheEnvironmentSays) {
  const char* before = std::getenv("NPUMOE_OPENVINO_LIBRARY");
  const std::string kept = before == nullptr ? "" : before;
  setenv("NPUMOE_OPENVINO_LIBRARY", "/somewhere/m.so", 1);
  const LibrarySearch named = DefaultSearch();
  unsetenv("NPUMOE_OPENVINO_LIBRARY");
  const LibrarySearch unnamed = DefaultSearch();
  if (before != nullptr) setenv("NPUMOE_OPENVINO_LIBRARY", kept.c_str(), 1);
  EXPECT_EQ(named.modules, std::vector<std::filesystem::path>{"/somewhere/m.so"});
  ASSERT_EQ(unnamed.modules.size(), 2u);
  EXPECT_TRUE(std::filesystem::is_regular_file(unnamed.modules[0].parent_path() / "npu_test"))
      << "beside the program: " << unnamed.modules[0];
}

TEST(ModuleLibrary, LooksIntoPythonPackages) {
  const testing::ScratchFolder folder;
  const auto libs = folder.path() / "lib/python3.11/site-packages/openvino/libs";
  std::filesystem::create_directories(libs);
  const char* before = std::getenv("VIRTUAL_ENV");
  const std::string kept = before == nullptr ? "" : before;
  setenv("VIRTUAL_ENV", folder.path().c_str(), 1);
  const std::vector<std::filesystem::path> folders = DefaultSearch().runtime_folders;
  before == nullptr ? unsetenv("VIRTUAL_ENV") : setenv("VIRTUAL_ENV", kept.c_str(), 1);
  EXPECT_NE(std::find(folders.begin(), folders.end(), libs), folders.end());
}

TEST(ModuleLibrary, SaysWhereItLookedWhenThereIsNone) {
  const Status status = LoadModule({{"/none/a.so", "/none/b.so"}, {}}).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("/none/a.so, /none/b.so"), std::string::npos);
  EXPECT_NE(status.message().find("docs/openvino.md"), std::string::npos);
}

TEST(ModuleLibrary, RefusesAFileThatIsNoLibrary) {
  const testing::ScratchFolder folder;
  std::ofstream(folder / "text.so") << "no library";
  const Status status = LoadModule({{folder / "text.so"}, {}}).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("text.so"), std::string::npos) << status.message();
}

TEST(ModuleLibrary, RefusesALibraryThatIsNoModule) {
  const Status status = LoadModule({{NPUMOE_FOREIGN_LIBRARY}, {}}).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("is no module of npumoe"), std::string::npos) << status.message();
}

TEST(ModuleLibrary, RefusesAModuleOfAnotherBuild) {
  const Status status = LoadModule({{NPUMOE_FOREIGN_MODULE}, {}}).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("belongs to another build"), std::string::npos)
      << status.message();
}

using ModuleLibraryWithRuntime = OpenvinoTest;

#ifndef NPUMOE_OPENVINO_NOT_BUILT
TEST_F(ModuleLibraryWithRuntime, TakesTheFirstModuleThatExists) {
  const auto module = LoadModule({{"/none/a.so", NPUMOE_OPENVINO_MODULE}, {}});
  ASSERT_TRUE(module.ok()) << module.status().message();
  EXPECT_EQ((*module)->targets().size(), 3u);
}
#endif

}  // namespace
}  // namespace npumoe::openvino
