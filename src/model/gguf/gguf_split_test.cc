#include <gtest/gtest.h>

#include "model/gguf/gguf_model.h"
#include "model/gguf/test_gguf.h"
#include "model/test_folder.h"

namespace npumoe {
namespace {

struct PartKeys {
  uint32_t number = 0;
  uint32_t count = 2;
  uint32_t tensors = 2;
};

// Writes part `keys.number` with one tensor of this name.
std::filesystem::path WritePart(const TestFolder& folder, const std::string& file,
                                const PartKeys& keys, const std::string& tensor) {
  GgufMetadataBuilder metadata;
  metadata.AddU32("split.no", keys.number);
  metadata.AddU32("split.count", keys.count);
  metadata.AddU32("split.tensors.count", keys.tensors);
  return folder.Write(file, FileWith({{tensor, {8}, 0, 0}}, 32, metadata).text());
}

std::string ErrorOf(const std::filesystem::path& path) {
  const auto model = GgufModelFile::Open(path);
  return model.ok() ? "no error" : model.status().message();
}

TEST(GgufModelFile, FindsTheOtherPartsOfASplitModel) {
  const TestFolder folder;
  const auto first = WritePart(folder, "m-00001-of-00002.gguf", {0}, "a");
  WritePart(folder, "m-00002-of-00002.gguf", {1}, "b");
  const auto model = GgufModelFile::Open(first);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->tensors().size(), 2u);
  ExpectSays(model->FileOf("b"), "m-00002-of-00002.gguf");
}

TEST(GgufModelFile, FindsPartsWhoseNamesEndInCapitals) {
  const TestFolder folder;
  const auto first = WritePart(folder, "m-00001-of-00002.GGUF", {0}, "a");
  WritePart(folder, "m-00002-of-00002.GGUF", {1}, "b");
  EXPECT_EQ(*GgufOf(folder.path()), first);
  EXPECT_EQ(ErrorOf(first), "no error");
}

TEST(GgufModelFile, NamesAPartThatIsMissing) {
  const TestFolder folder;
  const auto first = WritePart(folder, "m-00001-of-00002.gguf", {0}, "a");
  ExpectSays(ErrorOf(first), "m-00002-of-00002.gguf: no such file");
}

TEST(GgufModelFile, NamesTheFirstPartWhenALaterOneIsOpened) {
  const TestFolder folder;
  WritePart(folder, "m-00001-of-00002.gguf", {0}, "a");
  const auto second = WritePart(folder, "m-00002-of-00002.gguf", {1}, "b");
  ExpectSays(ErrorOf(second), "give the first one, m-00001-of-00002.gguf");
}

TEST(GgufModelFile, SaysThatTheFirstPartIsNotThereEither) {
  const TestFolder folder;
  const auto second = WritePart(folder, "m-00002-of-00002.gguf", {1}, "b");
  ExpectSays(ErrorOf(second), "m-00001-of-00002.gguf, which is not beside it");
}

TEST(GgufOf, TakesTheOnlyModelOfAFolderInEitherCase) {
  const TestFolder folder;
  EXPECT_EQ(*GgufOf(folder.path()), "");
  const auto only = WritePart(folder, "m.GGUF", {0}, "a");
  EXPECT_EQ(*GgufOf(only), only);
  EXPECT_EQ(*GgufOf(folder.path()), only);
}

TEST(GgufOf, NamesTheModelsOfAFolderThatHasSeveral) {
  const TestFolder folder;
  WritePart(folder, "b.gguf", {0}, "a");
  WritePart(folder, "a.gguf", {0}, "a");
  ExpectSays(GgufOf(folder.path()).status().message(), "holds 2 GGUF models ('a.gguf', 'b.gguf')");
}

TEST(GgufOf, NamesTheFirstPartThatAFolderLacks) {
  const TestFolder folder;
  WritePart(folder, "m-00002-of-00003.gguf", {1, 3, 3}, "b");
  WritePart(folder, "m-00003-of-00003.gguf", {2, 3, 3}, "c");
  ExpectSays(GgufOf(folder.path()).status().message(),
             "but not its first part, 'm-00001-of-00003.gguf'");
}

TEST(GgufModelFile, RefusesAFirstPartWhoseNameDoesNotTellTheOthers) {
  const TestFolder folder;
  const auto first = WritePart(folder, "model.gguf", {0}, "a");
  ExpectSays(ErrorOf(first), "-00001-of-00002.gguf");
}

TEST(GgufModelFile, RefusesAPartOfAnotherSplit) {
  const TestFolder folder;
  const auto first = WritePart(folder, "m-00001-of-00002.gguf", {0}, "a");
  WritePart(folder, "m-00002-of-00002.gguf", {1, 3, 2}, "b");
  ExpectSays(ErrorOf(first), "different downloads");
}

TEST(GgufModelFile, RefusesATensorThatStandsInTwoParts) {
  const TestFolder folder;
  const auto first = WritePart(folder, "m-00001-of-00002.gguf", {0}, "a");
  WritePart(folder, "m-00002-of-00002.gguf", {1}, "a");
  ExpectSays(ErrorOf(first), "stands in an earlier part, too");
}

TEST(GgufModelFile, RefusesPartsThatHoldAnotherNumberOfTensors) {
  const TestFolder folder;
  const auto first = WritePart(folder, "m-00001-of-00002.gguf", {0, 2, 5}, "a");
  WritePart(folder, "m-00002-of-00002.gguf", {1, 2, 5}, "b");
  ExpectSays(ErrorOf(first), "split.tensors.count");
}

TEST(GgufModelFile, RefusesAPartNumberBeyondTheCount) {
  const TestFolder folder;
  const auto first = WritePart(folder, "m-00001-of-00002.gguf", {7}, "a");
  ExpectSays(ErrorOf(first), "split.no");
}

}  // namespace
}  // namespace npumoe
