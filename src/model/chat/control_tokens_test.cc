// Text from outside never becomes a token that structures a prompt: every format, every one of
// its tokens, both kinds of tokenizer, and tokens that the file does not call special.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/chat/formats.h"
#include "model/tokenizer.h"

namespace npumoe {
namespace {

using Json = nlohmann::json;

const std::string kSource = NPUMOE_SOURCE_DIR;

std::set<std::string> ControlTokensOf(const ChatFormat& format) {
  std::set<std::string> tokens(format.markers.begin(), format.markers.end());
  tokens.insert(format.ends.begin(), format.ends.end());
  for (const std::string_view token : {format.bos, format.eos}) {
    if (!token.empty()) tokens.emplace(token);
  }
  return tokens;
}

struct Case {
  std::string file;
  bool is_special;
};

// The tokenizer of `file` with the format's tokens beside its own, and without `lacking`.
std::shared_ptr<const Tokenizer> WithTokens(const Case& test_case,
                                            const std::set<std::string>& tokens,
                                            std::string_view lacking = {}) {
  Json json = Json::parse(std::ifstream(kSource + "/" + test_case.file));
  Json added = Json::array();
  int next = 0;
  for (const auto& [spelling, id] : json["model"]["vocab"].items()) {
    next = std::max(next, id.get<int>() + 1);
  }
  for (const Json& token : json["added_tokens"]) next = std::max(next, token["id"].get<int>() + 1);
  for (const Json& token : json["added_tokens"]) {
    if (!tokens.contains(token["content"]) && token["content"] != lacking) added.push_back(token);
  }
  for (const std::string& token : tokens) {
    const auto known = json["model"]["vocab"].find(token);
    const int id = known != json["model"]["vocab"].end() ? known->get<int>() : next++;
    added.push_back({{"id", id},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", test_case.is_special}});
  }
  json["added_tokens"] = added;
  auto tokenizer = Tokenizer::FromJson(json.dump(), "test");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

// A conversation whose every text is `content`, but for the reply.
std::vector<ChatMessage> Conversation(const ChatFormat& format, const std::string& content,
                                      const std::string& reply) {
  std::vector<ChatMessage> messages;
  if (format.name != "phi3-first") messages.push_back({.role = "system", .content = content});
  messages.push_back({.role = "user", .content = content});
  messages.push_back({.role = "assistant", .content = reply});
  messages.push_back({.role = "user", .content = content});
  return messages;
}

std::vector<int64_t> Counts(const Tokenizer& tokenizer, const ChatTemplate& chat,
                            const std::vector<ChatMessage>& messages,
                            const std::set<std::string>& tokens) {
  const auto ids = chat.Encode(tokenizer, messages, {});
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  std::vector<int64_t> counts;
  for (const std::string& token : tokens) {
    counts.push_back(std::ranges::count(*ids, *tokenizer.TokenId(token)));
  }
  return counts;
}

class ControlTokens : public ::testing::TestWithParam<Case> {};

TEST_P(ControlTokens, AreNeverMadeOfTextFromOutside) {
  size_t tried = 0;
  for (const ChatFormat& format : ChatFormats()) {
    const auto tokens = ControlTokensOf(format);
    const auto tokenizer = WithTokens(GetParam(), tokens);
    ASSERT_NE(tokenizer, nullptr);
    const auto chat = *ChatTemplate::ByName(format.name);
    const auto want = Counts(*tokenizer, chat, Conversation(format, "ab", "ab"), tokens);
    for (const std::string& token : tokens) {
      // Reasoning in a reply is taken apart by these formats, so it is control text there.
      const bool is_reasoning =
          (token == "<think>" || token == "</think>") && format.name.starts_with("qwen3");
      for (const std::string& content : {"a" + token + "b", token, token + token}) {
        const auto messages = Conversation(format, content, is_reasoning ? "ab" : content);
        EXPECT_EQ(Counts(*tokenizer, chat, messages, tokens), want)
            << format.name << ": " << content;
        ++tried;
      }
    }
  }
  EXPECT_GT(tried, 150u);
}

TEST_P(ControlTokens, OfTheTemplateItselfDoCount) {
  for (const ChatFormat& format : ChatFormats()) {
    const auto tokens = ControlTokensOf(format);
    const auto tokenizer = WithTokens(GetParam(), tokens);
    ASSERT_NE(tokenizer, nullptr);
    const auto counts = Counts(*tokenizer, *ChatTemplate::ByName(format.name),
                               Conversation(format, "ab", "ab"), tokens);
    EXPECT_GT(*std::ranges::max_element(counts), 0) << format.name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, ControlTokens,
    ::testing::Values(Case{"models/demo/tokenizer.json", true},
                      Case{"models/demo/tokenizer.json", false},
                      Case{"tests/data/tokenizer/small.sentencepiece.json", true},
                      Case{"tests/data/tokenizer/small.sentencepiece.json", false}),
    [](const auto& test) {
      return (test.param.file.find("demo") != std::string::npos ? std::string("Bytes")
                                                                : std::string("SentencePiece")) +
             (test.param.is_special ? "Special" : "Plain");
    });

TEST(ChatControlTokens, WithoutThoseThatItWritesAFormatIsRefusedByName) {
  const Case demo{"models/demo/tokenizer.json", true};
  size_t tried = 0;
  for (const ChatFormat& format : ChatFormats()) {
    for (const std::string_view lacking : format.needed) {
      auto tokens = ControlTokensOf(format);
      tokens.erase(std::string(lacking));
      const auto tokenizer = WithTokens(demo, tokens, lacking);
      ASSERT_NE(tokenizer, nullptr);
      const auto chat = *ChatTemplate::ByName(format.name);
      const auto messages = Conversation(format, "ab", "ab");
      const std::string written = *chat.RenderText(messages, {});
      if (written.find(lacking) == written.npos) continue;  // of tools, thoughts or samples
      ++tried;
      const Status status = chat.Encode(*tokenizer, messages, {}).status();
      ASSERT_EQ(status.code(), StatusCode::kUnsupported) << format.name << ": " << lacking;
      for (const std::string& part : {"'" + std::string(lacking) + "'", std::string(format.name),
                                      std::string("--chat-template")}) {
        EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
      }
    }
  }
  EXPECT_GT(tried, 25u);
}

TEST(ChatControlTokens, AllThatAreLackingAreNamedAtOnce) {
  const auto demo = *Tokenizer::Load(kSource + "/models/demo");
  const Status status =
      ChatTemplate::ByName("phi3")->Encode(*demo, {{.role = "user", .content = "U"}}, {}).status();
  EXPECT_NE(status.message().find("'<|user|>', '<|assistant|>', '<|end|>'"), std::string::npos)
      << status.message();
}

// In a GGUF an ordinary token may have the spelling; text never becomes it.
TEST(ChatControlTokens, AnOrdinaryTokenOfTheSpellingIsNone) {
  Json json = Json::parse(std::ifstream(kSource + "/models/demo/tokenizer.json"));
  int next = 0;
  for (const auto& [spelling, id] : json["model"]["vocab"].items()) {
    next = std::max(next, id.get<int>() + 1);
  }
  for (const Json& token : json["added_tokens"]) next = std::max(next, token["id"].get<int>() + 1);
  for (const char* token : {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"}) {
    json["model"]["vocab"][token] = next++;
  }
  const auto tokenizer = *Tokenizer::FromJson(json.dump(), "test");
  const auto ids =
      ChatTemplate::ByName("phi3")->Encode(*tokenizer, {{.role = "user", .content = "U"}}, {});
  ASSERT_FALSE(ids.ok());
  EXPECT_NE(ids.status().message().find("'<|user|>'"), std::string::npos);
}

TEST(ChatEndTokens, AreThoseOfTheFormatAndTheModelsOwn) {
  const std::set<std::string> tokens = {"<|return|>", "<|call|>", "<|end|>"};
  const auto tokenizer = WithTokens({"models/demo/tokenizer.json", true}, tokens);
  const auto ends = ChatTemplate::ByName("gpt-oss")->EndTokens(*tokenizer);
  EXPECT_EQ(ends, (std::vector<int32_t>{*tokenizer->TokenId("<|return|>"),
                                        *tokenizer->TokenId("<|call|>")}));
}

}  // namespace
}  // namespace npumoe
