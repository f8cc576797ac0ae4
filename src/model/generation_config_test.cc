#include "model/generation_config.h"

#include <nlohmann/json.hpp>

#include "model/test_folder.h"

namespace npumoe {
namespace {

constexpr int kVocabulary = 1000;

TEST(GenerationConfig, ReadsEndTokensAndSamplingDefaults) {
  TestFolder folder;
  folder.Write("generation_config.json",
               R"({"eos_token_id":[7,5,7],"temperature":0.6,"top_k":20,"top_p":0.95,
                   "min_p":0.1,"do_sample":true})");
  const auto config = ReadGenerationConfig(folder.path(), Json{{"eos_token_id", 3}}, kVocabulary);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->end_tokens, (std::vector<int32_t>{7, 5}));
  EXPECT_FLOAT_EQ(config->temperature.value(), 0.6f);
  EXPECT_EQ(config->top_k.value(), 20);
  EXPECT_FLOAT_EQ(config->top_p.value(), 0.95f);
  EXPECT_FLOAT_EQ(config->min_p.value(), 0.1f);
  EXPECT_TRUE(config->do_sample.value());
}

TEST(GenerationConfig, FallsBackToTheModelsEndTokens) {
  TestFolder folder;
  const auto one = ReadGenerationConfig(folder.path(), Json{{"eos_token_id", 3}}, kVocabulary);
  EXPECT_EQ(one->end_tokens, (std::vector<int32_t>{3}));
  folder.Write("generation_config.json", R"({"eos_token_id":null,"temperature":null})");
  const auto list =
      ReadGenerationConfig(folder.path(), Json{{"eos_token_id", {3, 4}}}, kVocabulary);
  EXPECT_EQ(list->end_tokens, (std::vector<int32_t>{3, 4}));
  EXPECT_FALSE(list->temperature.has_value());
}

TEST(GenerationConfig, NamesFieldsThatWouldChangeAnswersElsewhere) {
  TestFolder folder;
  folder.Write("generation_config.json", R"({"repetition_penalty":1.5,"num_beams":1})");
  const auto config = ReadGenerationConfig(folder.path(), Json::object(), kVocabulary);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->unsupported, std::vector<std::string>{"repetition_penalty"});
}

TEST(GenerationConfig, MayHaveNoEndTokenAtAll) {
  TestFolder folder;
  const auto config =
      ReadGenerationConfig(folder.path(), Json{{"eos_token_id", nullptr}}, kVocabulary);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_TRUE(config->end_tokens.empty());
}

TEST(GenerationConfig, RefusesWhatItCannotMean) {
  for (const char* text :
       {R"({"eos_token_id":1000})", R"({"eos_token_id":-1})", R"({"eos_token_id":"x"})",
        R"({"eos_token_id":[1,"x"]})", R"({"temperature":-1})", R"({"top_p":1.5})",
        R"({"top_k":-3})", R"({"min_p":"x"})", R"({"do_sample":1})", "[]", "{", ""}) {
    TestFolder folder;
    folder.Write("generation_config.json", text);
    const auto config = ReadGenerationConfig(folder.path(), Json::object(), kVocabulary);
    ASSERT_FALSE(config.ok()) << text;
    EXPECT_NE(config.status().message().find("generation_config.json"), std::string::npos);
  }
}

TEST(GenerationConfig, RefusesAnEndTokenOfTheModelOutsideItsVocabulary) {
  TestFolder folder;
  const auto config =
      ReadGenerationConfig(folder.path(), Json{{"eos_token_id", 1000}}, kVocabulary);
  EXPECT_NE(config.status().message().find("eos_token_id"), std::string::npos);
}

}  // namespace
}  // namespace npumoe
