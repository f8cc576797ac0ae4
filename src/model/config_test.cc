#include "model/config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace npumoe {
namespace {

Json SmallConfig() {
  return Json{{"model_type", "qwen3_moe"},
              {"hidden_size", 64},
              {"num_hidden_layers", 4},
              {"vocab_size", 512},
              {"max_position_embeddings", 4096},
              {"num_attention_heads", 4},
              {"num_key_value_heads", 2},
              {"head_dim", 32},
              {"intermediate_size", 96},
              {"moe_intermediate_size", 48},
              {"num_experts", 16},
              {"num_experts_per_tok", 4},
              {"norm_topk_prob", true},
              {"rope_theta", 1e6},
              {"rms_norm_eps", 1e-5}};
}

ModelConfig Parsed(const Json& json) {
  const auto config = ParseModelConfig(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.status().message();
  return config.ok() ? *config : ModelConfig{};
}

// The message of the refusal of SmallConfig with `key` set to `value`.
std::string Refusal(const std::string& key, const Json& value) {
  Json json = SmallConfig();
  json[key] = value;
  const auto config = ParseModelConfig(json, "config.json");
  if (config.ok()) return "accepted";
  EXPECT_EQ(config.status().message().rfind("config.json", 0), 0u) << config.status().message();
  return config.status().message();
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

// Refused with a message that names the field and what was found.
#define EXPECT_REFUSED(key, value, found)            \
  do {                                               \
    const std::string refusal = Refusal(key, value); \
    EXPECT_CONTAINS(refusal, key);                   \
    EXPECT_CONTAINS(refusal, found);                 \
  } while (false)

TEST(ModelConfig, ReadsEveryFieldOfASmallModel) {
  const ModelConfig config = Parsed(SmallConfig());
  EXPECT_EQ(config.family, "qwen3_moe");
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.num_layers, 4);
  EXPECT_EQ(config.vocab_size, 512);
  EXPECT_EQ(config.max_position_embeddings, 4096);
  EXPECT_FLOAT_EQ(config.norm_eps, 1e-5f);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.attention.num_heads, 4);
  EXPECT_EQ(config.attention.num_kv_heads, 2);
  EXPECT_EQ(config.attention.head_dim, 32);
  EXPECT_EQ(config.attention.qk_norm, QkNorm::kPerHead);
  EXPECT_FALSE(config.attention.projection_bias);
  EXPECT_EQ(config.rope.theta, 1e6);
  EXPECT_EQ(config.moe.num_experts, 16);
  EXPECT_EQ(config.moe.experts_per_token, 4);
  EXPECT_EQ(config.moe.expert_intermediate_size, 48);
  EXPECT_TRUE(config.moe.normalize_top_k);
  EXPECT_EQ(config.MoeLayers(), (std::vector<int>{0, 1, 2, 3}));
}

TEST(ModelConfig, RefusesAnUnknownTypeAndListsTheKnownOnes) {
  const std::string text = Refusal("model_type", "qwen3_5_moe");
  EXPECT_CONTAINS(text, "qwen3_5_moe");
  for (const char* known : {"deepseek_v2", "gpt_oss", "granitemoe", "mixtral", "olmoe", "phimoe",
                            "qwen2_moe", "qwen3_moe"}) {
    EXPECT_CONTAINS(text, known);
  }
}

TEST(ModelConfig, RefusesAConfigWithoutAModelType) {
  Json json = SmallConfig();
  json.erase("model_type");
  EXPECT_CONTAINS(ParseModelConfig(json, "config.json").status().message(), "model_type");
  EXPECT_FALSE(ParseModelConfig(Json::array(), "config.json").ok());
}

TEST(ModelConfig, DerivesTheHeadSizeWhereItIsAbsentOrNull) {
  Json json = SmallConfig();
  json["head_dim"] = nullptr;
  EXPECT_EQ(Parsed(json).attention.head_dim, 16);
  json.erase("head_dim");
  EXPECT_EQ(Parsed(json).attention.head_dim, 16);
}

TEST(ModelConfig, TakesAllHeadsWhereKeyValueHeadsAreNull) {
  Json json = SmallConfig();
  json["num_key_value_heads"] = nullptr;
  EXPECT_EQ(Parsed(json).attention.num_kv_heads, 4);
}

TEST(ModelConfig, IgnoresTheTypeOfTheWeightsUnderBothOfItsNames) {
  Json json = SmallConfig();
  json["dtype"] = "bfloat16";
  EXPECT_EQ(Parsed(json).hidden_size, 64);
  json["torch_dtype"] = "float16";
  EXPECT_EQ(Parsed(json).hidden_size, 64);
}

TEST(ModelConfig, AcceptsFieldsThatSayNothingSpecial) {
  Json json = SmallConfig();
  json["sliding_window"] = 4096;  // not used
  json["use_sliding_window"] = false;
  json["quantization_config"] = nullptr;
  json["mlp_only_layers"] = nullptr;
  json["layer_types"] = {"full_attention", "full_attention", "full_attention", "full_attention"};
  EXPECT_EQ(Parsed(json).MoeLayers().size(), 4u);
}

TEST(ModelConfig, ReadsTheNewerNameOfTheExpertCount) {
  Json json = SmallConfig();
  json.erase("num_experts");
  json["num_local_experts"] = 8;
  EXPECT_EQ(Parsed(json).moe.num_experts, 8);
  EXPECT_REFUSED("num_local_experts", 8, "16");  // contradicts num_experts
}

TEST(ModelConfig, MakesListedLayersDense) {
  Json json = SmallConfig();
  json["mlp_only_layers"] = {1, 3};
  const ModelConfig config = Parsed(json);
  EXPECT_EQ(config.MoeLayers(), (std::vector<int>{0, 2}));
  EXPECT_EQ(config.dense_intermediate_size, 96);
}

TEST(ModelConfig, MakesEveryNthLayerMoe) {
  Json json = SmallConfig();
  json["decoder_sparse_step"] = 2;
  EXPECT_EQ(Parsed(json).MoeLayers(), (std::vector<int>{1, 3}));
}

TEST(ModelConfig, IsDenseWithoutExperts) {
  Json json = SmallConfig();
  json["num_experts"] = 0;
  EXPECT_TRUE(Parsed(json).MoeLayers().empty());
}

TEST(ModelConfig, GivesAllFourProjectionsABias) {
  Json json = SmallConfig();
  json["attention_bias"] = true;
  EXPECT_TRUE(Parsed(json).attention.projection_bias);
  EXPECT_TRUE(Parsed(json).attention.output_bias);
}

TEST(ModelConfig, RefusesAnActiveSlidingWindow) {
  Json json = SmallConfig();
  json["use_sliding_window"] = true;
  EXPECT_TRUE(ParseModelConfig(json, "config.json").ok());  // without a window nothing slides
  json["sliding_window"] = 1024;
  const std::string text = ParseModelConfig(json, "config.json").status().message();
  EXPECT_CONTAINS(text, "use_sliding_window");
  EXPECT_CONTAINS(text, "1024");
  EXPECT_REFUSED("layer_types",
                 (Json{"full_attention", "full_attention", "sliding_attention", "full_attention"}),
                 "found sliding_attention");
}

TEST(ModelConfig, RefusesAnotherActivation) { EXPECT_REFUSED("hidden_act", "gelu", "gelu"); }

TEST(ModelConfig, RefusesQuantizedWeights) {
  EXPECT_REFUSED("quantization_config", (Json{{"quant_method", "fp8"}}), "fp8");
  EXPECT_REFUSED("quantization_config", (Json{{"quant_method", "mxfp4"}}), "mxfp4");
  EXPECT_REFUSED("quantization_config", "fp8", "fp8");
  EXPECT_REFUSED("compression_config", (Json{{"bits", 4}}), "bits");
}

TEST(ModelConfig, RefusesFieldsThatNoFamilyHereComputes) {
  EXPECT_REFUSED("attn_logit_softcapping", 50.0, "50");
  EXPECT_REFUSED("final_logit_softcapping", 30.0, "30");
  EXPECT_REFUSED("mlp_bias", true, "true");
  EXPECT_REFUSED("partial_rotary_factor", 0.25, "0.25");
}

TEST(ModelConfig, RefusesLayerTypesThatAreNoListOfAllLayers) {
  EXPECT_REFUSED("layer_types", "full_attention", "full_attention");
  EXPECT_REFUSED("layer_types", (Json{"full_attention"}), "4 layers");
  EXPECT_REFUSED("layer_types", (Json{1, 2, 3, 4}), "list");
}

TEST(ModelConfig, RefusesMoreExpertsPerTokenThanExperts) {
  EXPECT_REFUSED("num_experts_per_tok", 17, "17");
  EXPECT_REFUSED("num_experts_per_tok", 0, "0");
}

TEST(ModelConfig, RefusesHeadCountsThatDoNotFit) {
  EXPECT_REFUSED("num_attention_heads", 0, "0");
  EXPECT_REFUSED("num_key_value_heads", 0, "0");
  EXPECT_REFUSED("num_key_value_heads", 3, "3");
  EXPECT_REFUSED("num_key_value_heads", 8, "8");
  EXPECT_REFUSED("head_dim", 33, "33");
  Json json = SmallConfig();
  json.erase("head_dim");
  json["num_attention_heads"] = 6;
  EXPECT_CONTAINS(ParseModelConfig(json, "config.json").status().message(), "num_attention_heads");
}

TEST(ModelConfig, RefusesAbsurdSizes) {
  EXPECT_REFUSED("hidden_size", 1'000'001, "1000001");
  EXPECT_REFUSED("hidden_size", -64, "-64");
  EXPECT_REFUSED("hidden_size", 64.5, "64.5");
  EXPECT_REFUSED("hidden_size", "64", "\"64\"");
  EXPECT_REFUSED("num_hidden_layers", 10'001, "10001");
  EXPECT_REFUSED("num_hidden_layers", 0, "0");
  EXPECT_REFUSED("num_experts", 65'537, "65537");
  EXPECT_REFUSED("vocab_size", 1e10, "1000000000");
  EXPECT_REFUSED("head_dim", 1'000'000, "1000000");
  EXPECT_REFUSED("rms_norm_eps", -1, "-1");
  EXPECT_REFUSED("rope_theta", 0, "0");
  EXPECT_REFUSED("mlp_only_layers", (Json{4}), "4");
  EXPECT_REFUSED("decoder_sparse_step", 0, "0");
}

TEST(ModelConfig, RefusesSizesThatAreAbsurdTogether) {
  Json json = SmallConfig();
  json["hidden_size"] = 1'000'000;
  json["moe_intermediate_size"] = 1'000'000;
  json["num_experts"] = 65'536;
  json["num_hidden_layers"] = 10'000;
  EXPECT_CONTAINS(ParseModelConfig(json, "config.json").status().message(), "billion parameters");
}

TEST(ModelConfig, RefusesMissingFieldsByName) {
  for (const char* key :
       {"hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads",
        "max_position_embeddings", "num_experts", "num_experts_per_tok", "moe_intermediate_size"}) {
    Json json = SmallConfig();
    json.erase(key);
    EXPECT_CONTAINS(ParseModelConfig(json, "config.json").status().message(), key);
  }
}

}  // namespace
}  // namespace npumoe
