// The configs of published models, and those of all reference models: read, and counted against
// what their authors state.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "model/config.h"
#include "model/model_hash.h"
#include "model/test_folder.h"

namespace npumoe {
namespace {

ModelConfig Published(const std::string& name) {
  const std::filesystem::path path = NPUMOE_SOURCE_DIR "/tests/data/configs/" + name + ".json";
  const auto json = ReadJsonFile(path);
  EXPECT_TRUE(json.ok()) << json.status().message();
  if (!json.ok()) return {};
  const auto config = ParseModelConfig(*json, path.string());
  EXPECT_TRUE(config.ok()) << config.status().message();
  return config.ok() ? *config : ModelConfig{};
}

std::string HashOf(const ModelConfig& config) {
  Hasher hasher;
  AddConfigToHash(config, hasher);
  return hasher.Hex();
}

double Billions(int64_t parameters) { return static_cast<double>(parameters) / 1e9; }

int64_t Embedding(const ModelConfig& config) {
  return int64_t{config.vocab_size} * config.hidden_size;
}

TEST(PublishedConfig, Qwen3Moe30B) {
  const ModelConfig config = Published("Qwen3-30B-A3B.config");
  EXPECT_EQ(config.TotalParameters(), 30'532'122'624);         // the index of its weights, halved
  EXPECT_NEAR(Billions(config.ActiveParameters()), 3.3, 0.1);  // "A3B": 3.3B
  EXPECT_EQ(config.ExpertParameters(), 3 * 2048 * 768);
}

TEST(PublishedConfig, Qwen3Moe235B) {
  const ModelConfig config = Published("Qwen3-235B-A22B.config");
  EXPECT_EQ(config.MoeLayers().size(), 94u);
  EXPECT_NEAR(Billions(config.TotalParameters()), 235, 1);
  EXPECT_NEAR(Billions(config.ActiveParameters()), 22, 0.3);
}

TEST(PublishedConfig, Phi35Moe) {
  const ModelConfig config = Published("Phi-3.5-MoE-instruct.config");
  EXPECT_NEAR(Billions(config.TotalParameters()), 41.9, 0.05);  // its model card
  EXPECT_NEAR(Billions(config.ActiveParameters()), 6.6, 0.05);
  EXPECT_EQ(config.moe.rule, RoutingRule::kSparseMixer);
  EXPECT_FLOAT_EQ(config.moe.sparse_mixer_jitter, 0.01f);
  const auto& rope = std::get<LongRopeScaling>(config.rope.scaling);
  EXPECT_EQ(rope.original_max_positions, 4096);
  EXPECT_EQ(rope.long_factors.size(), 64u);
  EXPECT_FLOAT_EQ(rope.short_attention_factor, 1.2431631f);
  EXPECT_FLOAT_EQ(rope.long_attention_factor, 1.2431631f);
}

TEST(PublishedConfig, PhiTinyMoe) {
  const ModelConfig config = Published("Phi-tiny-MoE-instruct.derived");
  EXPECT_EQ(config.TotalParameters(), 3'755'220'288);  // its weights
  // Its model card: 1.1B, where the embedding, of which a token reads one row, counts as none.
  EXPECT_NEAR(Billions(config.ActiveParameters() - Embedding(config)), 1.1, 0.06);
  EXPECT_EQ(config.attention.query_size(), 2048);  // half of the hidden size
  EXPECT_TRUE(config.lm_head_bias);
}

TEST(PublishedConfig, Olmoe) {
  const ModelConfig config = Published("OLMoE-1B-7B-0924.derived");
  EXPECT_EQ(config.TotalParameters(), 6'919'161'856);             // its weights
  EXPECT_NEAR(Billions(config.ActiveParameters()), 1.28, 0.005);  // its paper: 1.3B of 6.9B
  EXPECT_EQ(config.attention.qk_norm, QkNorm::kWholeRow);
  EXPECT_EQ(config.attention.clip_qkv, 0);
  EXPECT_FALSE(config.moe.normalize_top_k);
}

TEST(PublishedConfig, Mixtral) {
  const ModelConfig config = Published("Mixtral-8x7B-v0.1.config");
  EXPECT_EQ(config.TotalParameters(), 46'702'792'704);             // its weights
  EXPECT_NEAR(Billions(config.ActiveParameters()), 12.88, 0.005);  // its paper: 13B of 47B
  EXPECT_EQ(config.attention.window_tokens, 0);
  EXPECT_TRUE(config.moe.normalize_top_k);
}

TEST(PublishedConfig, GraniteMoe) {
  const ModelConfig config = Published("granite-moe-1b-a400m.derived");
  EXPECT_NEAR(Billions(config.TotalParameters()), 1.33, 0.01);   // its model card: 1.3B
  EXPECT_NEAR(Billions(config.ActiveParameters()), 0.43, 0.01);  // 400M
  EXPECT_EQ(config.attention.Scale(), 0.015625f);
  EXPECT_EQ(config.embedding_multiplier, 12);
  EXPECT_EQ(config.residual_multiplier, 0.22f);
  EXPECT_EQ(config.logits_divisor, 6);
  EXPECT_EQ(config.moe.rule, RoutingRule::kTopKSoftmax);
}

TEST(PublishedConfig, DeepseekV2Lite) {
  const ModelConfig config = Published("DeepSeek-V2-Lite.config");
  EXPECT_EQ(config.TotalParameters(), 15'706'484'224);  // its weights
  // Its paper: 2.4B of 15.7B, where the embedding, of which a token reads one row, counts as none.
  EXPECT_NEAR(Billions(config.ActiveParameters() - Embedding(config)), 2.4, 0.06);
  EXPECT_EQ(config.MoeLayers().size(), 26u);
  EXPECT_EQ(config.moe.shared_intermediate_size, 2816);
  EXPECT_FALSE(config.moe.shared_gate);
  EXPECT_EQ(config.attention.latent->cache_size(), 576);
  EXPECT_EQ(config.rope.pairs, RopePairs::kInterleaved);
  const auto& yarn = std::get<YarnScaling>(config.rope.scaling);
  EXPECT_EQ(yarn.factor, 40);
  EXPECT_EQ(yarn.attention_factor, 1);
  const double magnitude = 0.1 * 0.707 * std::log(40.0) + 1;
  EXPECT_FLOAT_EQ(config.attention.Scale(),
                  static_cast<float>(magnitude * magnitude / std::sqrt(192.0)));
}

TEST(PublishedConfig, GptOss20B) {
  const ModelConfig config = Published("gpt-oss-20b.config");
  EXPECT_NEAR(Billions(config.TotalParameters()), 20.91, 0.01);  // its model card
  EXPECT_NEAR(Billions(config.ActiveParameters() - Embedding(config)), 3.61, 0.01);
  EXPECT_TRUE(config.attention.has_sinks);
  EXPECT_EQ(config.attention.WindowOf(0), 128);
  EXPECT_EQ(config.attention.WindowOf(1), 0);
  EXPECT_EQ(config.moe.activation, ExpertActivation::kClampedSwiGlu);
  EXPECT_EQ(config.moe.activation_limit, 7);
  const auto& yarn = std::get<YarnScaling>(config.rope.scaling);
  EXPECT_FALSE(yarn.truncate);
  EXPECT_FLOAT_EQ(yarn.attention_factor, static_cast<float>(0.1 * std::log(32.0) + 1));
}

TEST(PublishedConfig, GptOss120B) {
  const ModelConfig config = Published("gpt-oss-120b.config");
  EXPECT_NEAR(Billions(config.TotalParameters()), 116.83, 0.01);  // its model card
  EXPECT_NEAR(Billions(config.ActiveParameters() - Embedding(config)), 5.13, 0.01);
}

TEST(PublishedConfig, IsRefusedByItsTypeWhereNoFamilyReadsIt) {
  const auto folder = SharedData("configs");
  NPUMOE_NEEDS_DATA(folder);
  for (const char* name : {"Qwen--Qwen3-8B", "Qwen--Qwen3.5-35B-A3B", "deepseek-ai--DeepSeek-V3",
                           "google--gemma-4-26B-A4B", "meta-llama--Meta-Llama-3.1-8B",
                           "nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"}) {
    const auto json = ReadJsonFile(folder / (std::string(name) + ".config.json"));
    ASSERT_TRUE(json.ok()) << json.status().message();
    const auto config = ParseModelConfig(*json, name);
    ASSERT_FALSE(config.ok()) << name;
    const auto type = (*json)["model_type"].get<std::string>();
    EXPECT_NE(config.status().message().find("'" + type + "' is not known"), std::string::npos);
  }
}

// The newer style of transformers 5: everything about positions in rope_parameters.
TEST(ReferenceConfig, SaysTheSameInTheNewerStyle) {
  const auto folder = SharedData("goldens");
  NPUMOE_NEEDS_DATA(folder);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto json = ReadJsonFile(entry.path() / "config.json");
    ASSERT_TRUE(json.ok()) << json.status().message();
    Json newer = *json;
    Json parameters = newer.value("rope_scaling", Json());
    if (parameters.is_null()) parameters = {{"rope_type", "default"}};
    parameters["rope_theta"] = newer["rope_theta"];
    newer.erase("rope_scaling");
    newer.erase("rope_theta");
    newer["rope_parameters"] = parameters;
    const auto hub = ParseModelConfig(*json, entry.path().string());
    const auto other = ParseModelConfig(newer, entry.path().string() + " (newer)");
    ASSERT_TRUE(hub.ok()) << hub.status().message();
    ASSERT_TRUE(other.ok()) << other.status().message();
    EXPECT_EQ(HashOf(*hub), HashOf(*other)) << entry.path();
  }
}

}  // namespace
}  // namespace npumoe
