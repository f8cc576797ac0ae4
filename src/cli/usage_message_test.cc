#include "cli/usage_message.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>

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

// What UsageMessage says about `arguments` of a command `run PROMPT --temp T -n N`.
std::string MessageFor(std::vector<std::string> arguments) {
  CLI::App app{"test"};
  app.require_subcommand(1);
  CLI::App* run = app.add_subcommand("run");
  std::string prompt;
  double temperature = 0;
  int tokens = 0;
  run->add_option("prompt", prompt);
  run->add_option("--temp", temperature);
  run->add_option("-n", tokens);
  std::reverse(arguments.begin(), arguments.end());  // as the library wants them
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return UsageMessage(app, error);
  }
  return "";
}

TEST(UsageMessage, NamesTheOptionThatWasMeantAndTheHelp) {
  EXPECT_EQ(MessageFor({"run", "hello", "--tepm", "0.5"}),
            "npumoe: error: there is no option --tepm; did you mean --temp?\n"
            "npumoe run --help shows what is allowed\n");
}

TEST(UsageMessage, NamesAnUnknownOptionWithoutItsValue) {
  EXPECT_EQ(MessageFor({"run", "hello", "--what=7"}),
            "npumoe: error: there is no option --what\nnpumoe run --help shows what is allowed\n");
}

TEST(UsageMessage, NamesAnArgumentTooMany) {
  EXPECT_EQ(MessageFor({"run", "hello", "you"}),
            "npumoe: error: 'you' is one argument too many\n"
            "npumoe run --help shows what is allowed\n");
}

TEST(UsageMessage, NamesTheProgramsHelpWhereNoCommandIsGiven) {
  const std::string message = MessageFor({});
  EXPECT_NE(message.find("\nnpumoe --help shows"), std::string::npos) << message;
}

}  // namespace
}  // namespace npumoe::cli
