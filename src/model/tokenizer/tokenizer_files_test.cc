// What stands around a text: tokenizer.json's post-processor, and tokenizer_config.json.
#include "model/tokenizer/tokenizer_files.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "model/tokenizer.h"
#include "model/tokenizer/shared_test_data.h"
#include "model/tokenizer/tokenizer_json.h"

namespace npumoe {
namespace {

using Json = nlohmann::json;

const std::string kSmall =
    std::string(NPUMOE_SOURCE_DIR) + "/tests/data/tokenizer/small.sentencepiece.json";

// A folder with the small tokenizer and a tokenizer_config.json, gone with its test.
class TokenizerFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("npumoe_tokenizer_files_") +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
    std::filesystem::copy_file(kSmall, folder_ / "tokenizer.json",
                               std::filesystem::copy_options::overwrite_existing);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result<std::shared_ptr<const Tokenizer>> Load(const Json& config) {
    std::ofstream(folder_ / "tokenizer_config.json") << config.dump();
    return Tokenizer::Load(folder_);
  }
  std::vector<int32_t> Prefix(const Json& config) {
    const auto tokenizer = Load(config);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    return {(*tokenizer)->prefix_ids().begin(), (*tokenizer)->prefix_ids().end()};
  }

  std::filesystem::path folder_;
};

TEST_F(TokenizerFilesTest, WithoutAConfigurationThePostProcessorDecides) {
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ((*tokenizer)->prefix_ids().size(), 1u);
  EXPECT_EQ((*tokenizer)->bos_token(), "");
}

TEST_F(TokenizerFilesTest, AddBosTokenCountsForClassesOfLlama) {
  EXPECT_EQ(Prefix({{"tokenizer_class", "LlamaTokenizer"}, {"bos_token", "</s>"}}),
            std::vector<int32_t>{2});
  EXPECT_EQ(Prefix({{"tokenizer_class", "LlamaTokenizerFast"},
                    {"bos_token", {{"content", "<s>"}}},
                    {"add_bos_token", false}}),
            std::vector<int32_t>{});
}

TEST_F(TokenizerFilesTest, AddBosTokenDoesNotCountForOtherClasses) {
  EXPECT_EQ(Prefix({{"tokenizer_class", "PreTrainedTokenizerFast"}, {"add_bos_token", false}}),
            std::vector<int32_t>{1});
}

TEST_F(TokenizerFilesTest, AddEosTokenPutsOneBehind) {
  const auto tokenizer = Load({{"tokenizer_class", "LlamaTokenizer"},
                               {"bos_token", "<s>"},
                               {"eos_token", "</s>"},
                               {"add_eos_token", true}});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const auto ids = *(*tokenizer)->EncodePrompt("Hello", SpecialTokens::kAsText);
  EXPECT_EQ(ids.front(), 1);
  EXPECT_EQ(ids.back(), 2);
  EXPECT_EQ((*tokenizer)->eos_token(), "</s>");
}

TEST_F(TokenizerFilesTest, RefusesABosTokenThatIsNone) {
  const auto tokenizer = Load({{"tokenizer_class", "LlamaTokenizer"}, {"bos_token", "<none>"}});
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_NE(tokenizer.status().message().find("tokenizer_config.json"), std::string::npos);
  EXPECT_NE(tokenizer.status().message().find("'<none>'"), std::string::npos);
}

TEST_F(TokenizerFilesTest, RefusesFieldsOfTheWrongKind) {
  for (const char* field : {"bos_token", "eos_token", "tokenizer_class", "add_bos_token"}) {
    Json config = {{"tokenizer_class", "LlamaTokenizer"}};
    config[field] = 7;
    const auto tokenizer = Load(config);
    ASSERT_FALSE(tokenizer.ok()) << field;
    EXPECT_NE(tokenizer.status().message().find(field), std::string::npos);
  }
}

TEST_F(TokenizerFilesTest, AFileOfAnotherNameHasNoConfigurationBesideIt) {
  ASSERT_TRUE(Load({{"tokenizer_class", "LlamaTokenizer"}, {"add_bos_token", false}}).ok());
  std::filesystem::rename(folder_ / "tokenizer.json", folder_ / "other.json");
  const auto tokenizer = Tokenizer::Load(folder_ / "other.json");
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ((*tokenizer)->prefix_ids().size(), 1u);
}

Status PostProcessed(const Json& processor) {
  Json json = Json::parse(ReadAll(kSmall));
  json["post_processor"] = processor;
  return Tokenizer::FromJson(json.dump(), "small").status();
}

TEST(PostProcessor, RefusesWhatItCannotDo) {
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json bos = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const auto with = [&](const Json& single, const Json& ids) {
    return PostProcessed({{"type", "TemplateProcessing"},
                          {"single", single},
                          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", ids}}}}}});
  };
  EXPECT_TRUE(with(Json::array({bos, text, bos}), {1}).ok());
  EXPECT_FALSE(with(Json::array({bos}), {1}).ok());
  EXPECT_FALSE(with(Json::array({text, text}), {1}).ok());
  EXPECT_FALSE(with(Json::array({7}), {1}).ok());
  EXPECT_FALSE(with(Json::array({bos, text}), {-1}).ok());
  const Status outside = with(Json::array({bos, text}), {1 << 20});
  EXPECT_NE(outside.message().find("1048576"), std::string::npos) << outside.message();
}

TEST(TokenizerJsonText, ReadsBackAsTheSpecThatItWasWrittenFrom) {
  for (const std::string& path :
       {kSmall, std::string(NPUMOE_SOURCE_DIR) + "/models/demo/tokenizer.json"}) {
    const auto spec = ParseTokenizerJson(ReadAll(path), "small");
    ASSERT_TRUE(spec.ok());
    const std::string written = TokenizerJsonText(*spec);
    const auto again = ParseTokenizerJson(written, "written");
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(TokenizerJsonText(*again), written);
    EXPECT_EQ(again->bpe.vocabulary.size(), spec->bpe.vocabulary.size());
    EXPECT_EQ(again->bpe.merges, spec->bpe.merges);
    EXPECT_EQ(again->prefix_ids, spec->prefix_ids);
    EXPECT_EQ(again->pre_tokenizers, spec->pre_tokenizers);
  }
}

}  // namespace
}  // namespace npumoe
