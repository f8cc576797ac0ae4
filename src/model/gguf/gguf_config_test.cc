#include "model/gguf/gguf_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "model/gguf/architecture.h"
#include "model/gguf/gguf_tokenizer.h"
#include "model/gguf/hub_config.h"
#include "model/gguf/test_config.h"
#include "model/test_folder.h"

namespace npumoe {
namespace {

std::vector<std::string> RealConfigs() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kTestConfigs)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().filename().string());
  }
  return names;
}

// Two configs that differ in anything that keys say differ in these bytes.
std::string KeysOf(const ModelConfig& config) {
  GgufMetadataBuilder builder;
  AddConfigToGguf(config, builder);
  return builder.bytes();
}

class RealConfig : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Published, RealConfig, ::testing::ValuesIn(RealConfigs()),
                         [](const auto& published) {
                           std::string name = published.param;
                           for (char& c : name) c = std::isalnum(c) ? c : '_';
                           return name;
                         });

TEST_P(RealConfig, ComesBackFromItsKeys) {
  const ModelConfig config = ReadConfig(GetParam());
  FakeGguf gguf(config);
  const auto read = gguf.Read();
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(KeysOf(*read), KeysOf(config));
  EXPECT_EQ(read->rope.pairs, GgufFormOf(config).rope.pairs);
  EXPECT_EQ(read->tie_word_embeddings, config.tie_word_embeddings);
  EXPECT_EQ(read->lm_head_bias, config.lm_head_bias);
  EXPECT_EQ(read->attention.projection_bias, config.attention.projection_bias);
  EXPECT_EQ(read->attention.output_bias, config.attention.output_bias);
  EXPECT_EQ(read->is_moe_layer, config.is_moe_layer);
}

TEST_P(RealConfig, BecomesAConfigJsonThatSaysTheSame) {
  const ModelConfig config = ReadConfig(GetParam());
  const auto text = HubConfigOf(config, {});
  ASSERT_TRUE(text.ok()) << text.status().message();
  const auto json = ParseJson(*text, "config.json");
  ASSERT_TRUE(json.ok());
  const auto again = ParseModelConfig(*json, "config.json");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(KeysOf(*again), KeysOf(config));
}

Result<ModelConfig> QwenWith(const std::string& key,
                             const std::function<void(GgufMetadataBuilder&)>& replace) {
  return ConfigWith("Qwen3-30B-A3B.config.json", key, replace);
}

std::string ErrorWith(const std::string& key, uint32_t value) {
  const auto config = QwenWith(key, [&](GgufMetadataBuilder& b) { b.AddU32(key, value); });
  return config.ok() ? "no error" : config.status().message();
}

TEST(GgufConfig, ListsTheArchitecturesThatItKnows) {
  const std::string key = "general.architecture";
  const auto config = QwenWith(key, [&](GgufMetadataBuilder& b) { b.AddString(key, "mamba"); });
  ExpectSays(config.status().message(), "qwen3moe, qwen2moe, olmoe, llama");
}

TEST(GgufConfig, NamesAKeyThatIsMissing) {
  const auto config = QwenWith("qwen3moe.block_count", [](GgufMetadataBuilder&) {});
  ExpectSays(config.status().message(), "'qwen3moe.block_count' is missing");
}

TEST(GgufConfig, RefusesSizesBeyondEveryModel) {
  ExpectSays(ErrorWith("qwen3moe.block_count", 1u << 31), "1 to 10000");
  ExpectSays(ErrorWith("qwen3moe.expert_count", 1u << 31), "expert_count");
  ExpectSays(ErrorWith("qwen3moe.attention.head_count", 0), "head_count");
}

TEST(GgufConfig, RefusesAVocabularyThatContradictsTheEmbedding) {
  ExpectSays(ErrorWith("qwen3moe.vocab_size", 77), "'token_embd.weight' has 151936");
}

TEST(GgufConfig, RefusesMoreChosenExpertsThanThereAre) {
  ExpectSays(ErrorWith("qwen3moe.expert_used_count", 129), "must not exceed");
}

TEST(GgufConfig, RefusesARotaryPartOfAHead) {
  ExpectSays(ErrorWith("qwen3moe.rope.dimension_count", 64), "all 128 elements");
}

TEST(GgufConfig, RefusesScoresThatAreNoSoftmax) {
  ExpectSays(ErrorWith("qwen3moe.expert_gating_func", 2), "softmax (1) only");
}

TEST(GgufConfig, RefusesHeadsThatGroupsDoNotDivide) {
  ExpectSays(ErrorWith("qwen3moe.attention.head_count_kv", 5), "must divide");
}

TEST(GgufConfig, RefusesLinearScalingOfPositions) {
  const auto config = QwenWith("x", [](GgufMetadataBuilder& b) {
    b.AddString("qwen3moe.rope.scaling.type", "linear");
    b.AddF32("qwen3moe.rope.scaling.factor", 4.0f);
  });
  ExpectSays(config.status().message(), "no linear scaling");
}

TEST(GgufConfig, RefusesExactNumbersThatContradictTheUsualOnes) {
  const auto config = QwenWith("x", [](GgufMetadataBuilder& b) {
    b.AddF64("npumoe.exact.qwen3moe.rope.freq_base", 12345.0);
  });
  ExpectSays(config.status().message(), "contradicts");
}

TEST(GgufConfig, RefusesListsOfLayersOfAnotherLength) {
  const auto config = QwenWith("x", [](GgufMetadataBuilder& b) {
    b.AddBools("npumoe.moe_layers", {true, false});
  });
  ExpectSays(config.status().message(), "48 layers");
}

TEST(GgufConfig, TakesAListOfHeadCountsThatAreAllAlike) {
  const std::string key = "qwen3moe.attention.head_count_kv";
  const auto alike =
      QwenWith(key, [&](GgufMetadataBuilder& b) { b.AddI32s(key, std::vector<int32_t>(48, 4)); });
  EXPECT_TRUE(alike.ok()) << alike.status().message();
  const auto different = QwenWith(key, [&](GgufMetadataBuilder& b) {
    b.AddI32s(key, std::vector<int32_t>{4, 8});
  });
  ExpectSays(different.status().message(), "layers are alike");
}

TEST(GgufConfig, NamesAFileThatHoldsAVocabularyOnly) {
  FakeGguf gguf(ReadConfig("Qwen3-30B-A3B.config.json"));
  gguf.tensors.clear();
  ExpectSays(gguf.Read().status().message(), "a vocabulary only?");
}

// A minimal vocabulary with something added or changed.
std::string VocabularyError(const std::function<void(GgufMetadataBuilder&)>& add,
                            const std::vector<std::string>& tokens = {"a", "b", "ab"}) {
  GgufMetadataBuilder builder;
  builder.AddString("tokenizer.ggml.model", "gpt2");
  builder.AddStrings("tokenizer.ggml.tokens", tokens);
  add(builder);
  const auto file = FileWith({}, 0, builder).Parse();
  NPUMOE_CHECK(file.ok());
  const auto vocabulary = ReadGgufVocabulary(file->metadata());
  return vocabulary.ok() ? "no error" : vocabulary.status().message();
}

TEST(GgufVocabulary, MayBeAbsent) {
  for (const char* model : {"none", "no_vocab"}) {
    GgufMetadataBuilder builder;
    builder.AddString("tokenizer.ggml.model", model);
    const auto file = FileWith({}, 0, builder).Parse();
    const auto vocabulary = ReadGgufVocabulary(file->metadata());
    ASSERT_TRUE(vocabulary.ok());
    EXPECT_FALSE(vocabulary->has_value());
  }
}

TEST(GgufVocabulary, RefusesListsOfAnotherLengthThanTheTokens) {
  ExpectSays(VocabularyError([](GgufMetadataBuilder& b) {
               b.AddF32s("tokenizer.ggml.scores", std::vector<float>{1});
             }),
             "tokenizer.ggml.tokens has 3");
  ExpectSays(VocabularyError([](GgufMetadataBuilder& b) {
               b.AddI32s("tokenizer.ggml.token_type", std::vector<int32_t>{1, 1, 1, 1});
             }),
             "tokenizer.ggml.tokens has 3");
}

TEST(GgufVocabulary, RefusesIdsBeyondTheTokens) {
  ExpectSays(
      VocabularyError([](GgufMetadataBuilder& b) { b.AddU32("tokenizer.ggml.bos_token_id", 3); }),
      "tokenizer.ggml.tokens has 3");
}

TEST(GgufVocabulary, TakesMinusOneForNoToken) {
  EXPECT_EQ(VocabularyError([](GgufMetadataBuilder& b) {
              b.AddU32("tokenizer.ggml.padding_token_id", ~uint32_t{0});
            }),
            "no error");
}

TEST(GgufVocabulary, RefusesAnEmptyListOfTokens) {
  ExpectSays(VocabularyError([](GgufMetadataBuilder&) {}, {}), "are needed");
}

}  // namespace
}  // namespace npumoe
