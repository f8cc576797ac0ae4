#include "model/gguf/part_name.h"

#include <gtest/gtest.h>

namespace npumoe {
namespace {

TEST(PartName, IsReadFromTheEndOfAFileName) {
  const auto name = ParsePartName("qwen-00002-of-00003-00012-of-00034.gguf");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->stem, "qwen-00002-of-00003");
  EXPECT_EQ(name->number, 12);
  EXPECT_EQ(name->count, 34);
}

TEST(PartName, KeepsTheCaseOfTheEndingForTheOtherParts) {
  const auto name = ParsePartName("m-00001-of-00002.GGUF");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->Numbered(2).ToString(), "m-00002-of-00002.GGUF");
}

TEST(PartName, IsNoOtherName) {
  for (const char* other :
       {"", "m.gguf", "-00001-of-00002.gguf", "m-0001-of-00002.gguf", "m-00001-of-0000x.gguf",
        "m-00001-OF-00002.gguf", "m-00001-of-00002.safetensors", "m-00001-of-00002.gguf.part"}) {
    EXPECT_FALSE(ParsePartName(other).has_value()) << other;
  }
}

}  // namespace
}  // namespace npumoe
