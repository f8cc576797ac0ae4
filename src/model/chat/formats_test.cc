// Every chat format renders what the templates of its models render.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "model/chat_template.h"
#include "model/tokenizer.h"

namespace npumoe {
namespace {

using OrderedJson = nlohmann::ordered_json;

const std::string kData = std::string(NPUMOE_SOURCE_DIR) + "/tests/data/tokenizer/";

std::vector<OrderedJson> ReadLines(const std::string& name) {
  std::ifstream file(kData + name);
  std::vector<OrderedJson> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(OrderedJson::parse(line));
  return lines;
}

ChatMessage MessageFromJson(const OrderedJson& json) {
  ChatMessage message;
  message.role = json.at("role");
  message.content = json.at("content");
  if (json.contains("reasoning_content")) message.reasoning_content = json["reasoning_content"];
  if (json.contains("tool_calls")) message.tool_calls_json = json["tool_calls"].dump();
  return message;
}

std::chrono::year_month_day DateFromText(const std::string& text) {
  return std::chrono::year(std::stoi(text.substr(0, 4))) /
         std::chrono::month(static_cast<unsigned>(std::stoi(text.substr(5, 2)))) /
         std::chrono::day(static_cast<unsigned>(std::stoi(text.substr(8, 2))));
}

ChatOptions OptionsFromJson(const OrderedJson& json) {
  ChatOptions options;
  options.add_generation_prompt = json.at("add_generation_prompt");
  if (!json.at("tools").is_null()) options.tools_json = json["tools"].dump();
  options.reasoning_effort = json.value("reasoning_effort", "");
  options.today = DateFromText(json.at("today"));
  options.bos_token = json.at("bos_token");
  options.eos_token = json.at("eos_token");
  return options;
}

std::map<std::string, ChatTemplate> RecogniseAll() {
  std::map<std::string, ChatTemplate> templates;
  for (const OrderedJson& line : ReadLines("templates.jsonl")) {
    auto found = ChatTemplate::Recognise(line.at("text").get<std::string>());
    EXPECT_TRUE(found.ok()) << line["template"];
    if (found.ok()) templates.emplace(line["template"], *found);
  }
  return templates;
}

// A line whose text is null is a conversation that the model's own template refuses.
TEST(ChatFormats, EachRendersTheTextsOfItsModelsOwnTemplate) {
  const auto templates = RecogniseAll();
  size_t rendered = 0, refused = 0;
  for (const OrderedJson& line : ReadLines("formats.chat.jsonl")) {
    const auto found = templates.find(line.at("template"));
    ASSERT_NE(found, templates.end()) << line["template"];
    std::vector<ChatMessage> messages;
    for (const OrderedJson& message : line["messages"]) {
      messages.push_back(MessageFromJson(message));
    }
    const auto text = found->second.RenderText(messages, OptionsFromJson(line));
    if (line["text"].is_null()) {
      EXPECT_FALSE(text.ok()) << line.dump();
      ++refused;
      continue;
    }
    ASSERT_TRUE(text.ok()) << text.status().message() << "\n" << line.dump();
    ASSERT_EQ(*text, line["text"].get<std::string>()) << line["template"] << line.dump();
    ++rendered;
  }
  EXPECT_GT(rendered, 300u);
  EXPECT_GT(refused, 0u);
}

TEST(ChatFormats, EveryKnownNameCanBeChosen) {
  const std::string names = ChatTemplate::KnownNames();
  size_t count = 0;
  for (size_t begin = 0; begin < names.size(); ++count) {
    const size_t end = std::min(names.find(", ", begin), names.size());
    const auto named = ChatTemplate::ByName(names.substr(begin, end - begin));
    ASSERT_TRUE(named.ok()) << names.substr(begin, end - begin);
    const auto text = named->RenderText({{.role = "user", .content = "Hello"}}, {});
    ASSERT_TRUE(text.ok()) << named->name() << ": " << text.status().message();
    EXPECT_NE(text->find("Hello"), std::string::npos);
    begin = end + 2;
  }
  EXPECT_EQ(count, 14u);
}

TEST(ChatFormats, FormatsWithoutToolsRefuseThemInsteadOfHidingThem) {
  for (const char* name : {"chatml", "phi3", "mixtral", "olmoe", "deepseek-v2", "deepseek-v2.5"}) {
    const auto text = ChatTemplate::ByName(name)->RenderText({{.role = "user", .content = "U"}},
                                                             {.tools_json = "[{\"name\": \"f\"}]"});
    ASSERT_FALSE(text.ok()) << name;
    EXPECT_EQ(text.status().code(), StatusCode::kUnsupported);
    EXPECT_NE(text.status().message().find(name), std::string::npos);
  }
}

TEST(ChatFormats, GptOssNamesWhatIsWrongWithATool) {
  const auto render = [](const std::string& tools) {
    return ChatTemplate::ByName("gpt-oss")
        ->RenderText({{.role = "user", .content = "U"}}, {.tools_json = tools})
        .status();
  };
  for (const auto& [tools, part] : std::vector<std::pair<std::string, std::string>>{
           {"[{}]", "'function'"},
           {R"([{"function": {"name": "f"}}])", "'description'"},
           {R"([{"function": {"name": "f", "description": "d",
                 "parameters": {"properties": {"p": 7}}}}])",
            "JSON schema"},
           {"{}", "a list"}}) {
    EXPECT_NE(render(tools).message().find(part), std::string::npos) << render(tools).message();
  }
}

std::shared_ptr<const Tokenizer> DemoWith(const std::vector<std::string>& tokens) {
  OrderedJson json = OrderedJson::parse(
      std::ifstream(std::string(NPUMOE_SOURCE_DIR) + "/models/demo/tokenizer.json"));
  int id = 5000;
  for (const std::string& token : tokens) {
    json["added_tokens"].push_back({{"id", id++}, {"content", token}, {"special", true}});
  }
  return *Tokenizer::FromJson(json.dump(), "demo");
}

ChatMessage ReadReply(const std::string& format, const std::string& text) {
  const auto tokenizer =
      DemoWith({"<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|return|>", "<|call|>"});
  const auto ids = *tokenizer->Encode(text, SpecialTokens::kParse);
  return *ChatTemplate::ByName(format)->ReadReply(*tokenizer, ids);
}

TEST(ChatFormats, AReplyOfGptOssIsTakenApartIntoReasoningAndFinalText) {
  const ChatMessage message = ReadReply(
      "gpt-oss",
      "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.");
  EXPECT_EQ(message.role, "assistant");
  EXPECT_EQ(message.content, "Yes.");
  EXPECT_EQ(message.reasoning_content, "Hm.");
}

TEST(ChatFormats, AReplyOfGptOssThatWasCutOffKeepsWhatThereIs) {
  EXPECT_EQ(ReadReply("gpt-oss", "<|channel|>analysis<|message|>Hm").reasoning_content, "Hm");
  EXPECT_EQ(ReadReply("gpt-oss", "<|channel|>fin").content, "");
  EXPECT_EQ(ReadReply("gpt-oss", "plain<|return|>").content, "plain");
}

TEST(ChatFormats, OtherRepliesAreTheirTextWithoutSpecialTokens) {
  const ChatMessage message = ReadReply("chatml", "Yes.<|end|>");
  EXPECT_EQ(message.content, "Yes.");
  EXPECT_EQ(message.reasoning_content, std::nullopt);
}

}  // namespace
}  // namespace npumoe
