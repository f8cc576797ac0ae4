#include "cli/usage_message.h"

#include <gtest/gtest.h>

namespace npumoe::cli {
namespace {

const std::vector<std::string> kOptions = {
    "--temp", "--top-k", "--top-p", "--chat-template", "--chunks-in-flight", "--chunk"};

TEST(NearestWord, FindsAnOptionWithLettersWrongMissingOrSwapped) {
  EXPECT_EQ(NearestWord("--tepm", kOptions), "--temp");
  EXPECT_EQ(NearestWord("--tem", kOptions), "--temp");
  EXPECT_EQ(NearestWord("--chat-tmeplat", kOptions), "--chat-template");
  EXPECT_EQ(NearestWord("--topk", kOptions), "--top-k");
}

TEST(NearestWord, FindsTheOnlyOneThatBeginsWithIt) {
  EXPECT_EQ(NearestWord("--chat", kOptions), "--chat-template");
  EXPECT_EQ(NearestWord("--chunks-in", kOptions), "--chunks-in-flight");
}

TEST(NearestWord, FindsNothingFarAway) {
  EXPECT_EQ(NearestWord("--what", kOptions), "");
  EXPECT_EQ(NearestWord("--to", kOptions), "");
  EXPECT_EQ(NearestWord("--", kOptions), "");
  EXPECT_EQ(NearestWord("", kOptions), "");
  EXPECT_EQ(NearestWord(std::string(100000, 'a'), kOptions), "");
}

}  // namespace
}  // namespace npumoe::cli
