// What each family reads from its config, and what it refuses by name.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "model/config.h"

namespace npumoe {
namespace {

Json CommonFields(const char* model_type) {
  return Json{{"model_type", model_type},        {"hidden_size", 64},
              {"num_hidden_layers", 4},          {"vocab_size", 512},
              {"max_position_embeddings", 4096}, {"num_attention_heads", 4},
              {"num_key_value_heads", 2},        {"intermediate_size", 48},
              {"num_local_experts", 8},          {"num_experts_per_tok", 2}};
}

Json Deepseek() {
  Json json = CommonFields("deepseek_v2");
  json.erase("num_local_experts");
  json.update(Json{{"num_key_value_heads", 4},
                   {"n_routed_experts", 8},
                   {"moe_intermediate_size", 40},
                   {"kv_lora_rank", 32},
                   {"qk_nope_head_dim", 24},
                   {"qk_rope_head_dim", 16},
                   {"v_head_dim", 20}});
  return json;
}

Json GroupLimited() {
  Json json = Deepseek();
  json.update(Json{{"topk_method", "group_limited_greedy"}, {"n_group", 4}, {"topk_group", 2}});
  return json;
}

Json GptOss() {
  Json json = CommonFields("gpt_oss");
  json["sliding_window"] = 32;
  return json;
}

Json Qwen2() {
  Json json = CommonFields("qwen2_moe");
  json.update(Json{{"moe_intermediate_size", 40}, {"shared_expert_intermediate_size", 80}});
  return json;
}

Json With(Json json, const std::string& key, const Json& value) {
  json[key] = value;
  return json;
}

ModelConfig Parsed(const Json& json) {
  const auto config = ParseModelConfig(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.status().message();
  return config.ok() ? *config : ModelConfig{};
}

// The message that refuses `json` with `key` set to `value`; it must name the field.
std::string Refusal(const Json& json, const std::string& key, const Json& value) {
  const auto config = ParseModelConfig(With(json, key, value), "config.json");
  if (config.ok()) return "accepted";
  const std::string text = config.status().message();
  EXPECT_NE(text.find("config.json: field '" + key + "'"), std::string::npos) << text;
  return text;
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(PhiMoeConfig, HasLayerNormsAndSparseMixer) {
  Json json = CommonFields("phimoe");
  json.update(Json{{"attention_bias", true}, {"lm_head_bias", true}, {"head_dim", 8}});
  const ModelConfig config = Parsed(json);
  EXPECT_EQ(config.norm, NormKind::kLayer);
  EXPECT_FLOAT_EQ(config.norm_eps, 1e-5f);
  EXPECT_TRUE(config.attention.projection_bias);
  EXPECT_TRUE(config.attention.output_bias);
  EXPECT_TRUE(config.lm_head_bias);
  EXPECT_EQ(config.attention.head_dim, 8);
  EXPECT_EQ(config.moe.rule, RoutingRule::kSparseMixer);
  EXPECT_FLOAT_EQ(config.moe.sparse_mixer_jitter, 0.01f);
  EXPECT_EQ(config.rope.theta, 1e6);
  EXPECT_EQ(Parsed(With(json, "router_jitter_noise", 0.125)).moe.sparse_mixer_jitter, 0.125f);
}

TEST(PhiMoeConfig, AttendsInItsWindow) {
  const ModelConfig config = Parsed(With(CommonFields("phimoe"), "sliding_window", 2047));
  EXPECT_EQ(config.attention.WindowOf(0), 2047);
  EXPECT_EQ(config.attention.WindowOf(3), 2047);
}

TEST(PhiMoeConfig, RefusesAnotherNumberOfChoices) {
  EXPECT_CONTAINS(Refusal(CommonFields("phimoe"), "num_experts_per_tok", 4), "SparseMixer");
  EXPECT_CONTAINS(Refusal(CommonFields("phimoe"), "num_experts_per_tok", 1), "SparseMixer");
}

TEST(PhiMoeConfig, RefusesAJitterThatIsNone) {
  EXPECT_CONTAINS(Refusal(CommonFields("phimoe"), "router_jitter_noise", -0.01), "-0.01");
}

TEST(OlmoeConfig, NormsWholeRowsAndClips) {
  const Json json = CommonFields("olmoe");
  EXPECT_EQ(Parsed(json).attention.qk_norm, QkNorm::kWholeRow);
  EXPECT_EQ(Parsed(json).attention.clip_qkv, 0);
  EXPECT_FLOAT_EQ(Parsed(json).norm_eps, 1e-5f);
  EXPECT_FALSE(Parsed(json).moe.normalize_top_k);
  EXPECT_EQ(Parsed(With(json, "clip_qkv", 8)).attention.clip_qkv, 8);
  EXPECT_TRUE(Parsed(With(json, "norm_topk_prob", true)).moe.normalize_top_k);
  EXPECT_CONTAINS(Refusal(json, "clip_qkv", -1), "-1");
}

TEST(MixtralConfig, AttendsInItsWindowWhereItHasOne) {
  const Json json = CommonFields("mixtral");
  EXPECT_EQ(Parsed(With(json, "sliding_window", nullptr)).attention.WindowOf(0), 0);
  EXPECT_EQ(Parsed(With(json, "sliding_window", 24)).attention.WindowOf(3), 24);
  EXPECT_CONTAINS(Refusal(json, "sliding_window", 0), "0");
  EXPECT_EQ(Parsed(json).rope.theta, 1e6);
  EXPECT_TRUE(Parsed(json).moe.normalize_top_k);
}

TEST(MixtralConfig, NeedsExperts) {
  EXPECT_CONTAINS(Refusal(CommonFields("mixtral"), "num_local_experts", 0), "at least one");
}

TEST(GraniteMoeConfig, ReadsItsMultipliers) {
  Json json = CommonFields("granitemoe");
  EXPECT_EQ(Parsed(json).attention.Scale(), 1);  // the reference's default is no square root
  json.update(Json{{"embedding_multiplier", 12},
                   {"attention_multiplier", 0.0625},
                   {"residual_multiplier", 0.25},
                   {"logits_scaling", 6}});
  const ModelConfig config = Parsed(json);
  EXPECT_EQ(config.embedding_multiplier, 12);
  EXPECT_EQ(config.attention.Scale(), 0.0625f);
  EXPECT_EQ(config.residual_multiplier, 0.25f);
  EXPECT_EQ(config.logits_divisor, 6);
  EXPECT_EQ(config.moe.rule, RoutingRule::kTopKSoftmax);
}

TEST(GraniteMoeConfig, RefusesMultipliersThatAreNone) {
  for (const char* key :
       {"embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"}) {
    EXPECT_CONTAINS(Refusal(CommonFields("granitemoe"), key, 0), "0");
    EXPECT_CONTAINS(Refusal(CommonFields("granitemoe"), key, "12"), "number");
  }
}

TEST(GraniteMoeConfig, RefusesOtherPositions) {
  EXPECT_CONTAINS(Refusal(CommonFields("granitemoe"), "position_embedding_type", "nope"), "nope");
}

TEST(Qwen2MoeConfig, HasAGatedSharedExpertAndBiasesOfThreeProjections) {
  const ModelConfig config = Parsed(Qwen2());
  EXPECT_TRUE(config.attention.projection_bias);
  EXPECT_FALSE(config.attention.output_bias);
  EXPECT_EQ(config.moe.shared_intermediate_size, 80);
  EXPECT_TRUE(config.moe.shared_gate);
  EXPECT_EQ(config.moe.expert_count(), 9);
  EXPECT_EQ(config.moe.choices_per_token(), 3);
  EXPECT_EQ(config.moe.IntermediateOf(7), 40);
  EXPECT_EQ(config.moe.IntermediateOf(8), 80);
}

TEST(Qwen2MoeConfig, HasNoBiasWhereTheNewerFieldSaysSo) {
  EXPECT_FALSE(Parsed(With(Qwen2(), "qkv_bias", false)).attention.projection_bias);
}

TEST(Qwen2MoeConfig, NeedsTheWidthOfItsSharedExpert) {
  EXPECT_CONTAINS(Refusal(Qwen2(), "shared_expert_intermediate_size", nullptr), "integer");
}

TEST(Qwen2MoeConfig, RefusesAnActiveWindow) {
  EXPECT_CONTAINS(Refusal(With(Qwen2(), "sliding_window", 99), "use_sliding_window", true), "99");
}

TEST(DeepseekV2Config, HasLatentAttention) {
  const ModelConfig config = Parsed(Deepseek());
  ASSERT_TRUE(config.attention.latent.has_value());
  EXPECT_EQ(config.attention.latent->q_lora_rank, 0);
  EXPECT_EQ(config.attention.latent->cache_size(), 48);
  EXPECT_EQ(config.attention.head_dim, 40);
  EXPECT_EQ(config.attention.output_size(), 80);
  EXPECT_EQ(config.rope.pairs, RopePairs::kInterleaved);
  EXPECT_FLOAT_EQ(config.attention.Scale(), static_cast<float>(1 / std::sqrt(40.0)));
  EXPECT_EQ(Parsed(With(Deepseek(), "q_lora_rank", 24)).attention.latent->q_lora_rank, 24);
}

TEST(DeepseekV2Config, SharpensTheScaleByTheSquareOfYarnsMultiplier) {
  const Json yarn = {{"type", "yarn"}, {"factor", 40}, {"mscale", 1}, {"mscale_all_dim", 0.5}};
  const ModelConfig config = Parsed(With(Deepseek(), "rope_scaling", yarn));
  const double magnitude = 0.05 * std::log(40.0) + 1;
  EXPECT_FLOAT_EQ(config.attention.Scale(),
                  static_cast<float>(magnitude * magnitude / std::sqrt(40.0)));
  EXPECT_FLOAT_EQ(std::get<YarnScaling>(config.rope.scaling).attention_factor,
                  static_cast<float>((0.1 * std::log(40.0) + 1) / magnitude));
}

TEST(DeepseekV2Config, HasDenseFirstLayersAndSharedExperts) {
  Json json = Deepseek();
  json.update(Json{{"first_k_dense_replace", 1}, {"n_shared_experts", 2}});
  ModelConfig config = Parsed(json);
  EXPECT_EQ(config.MoeLayers(), (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(config.dense_intermediate_size, 48);
  EXPECT_EQ(config.moe.shared_intermediate_size, 80);
  EXPECT_FALSE(config.moe.shared_gate);
  EXPECT_EQ(Parsed(With(json, "moe_layer_freq", 2)).MoeLayers(), (std::vector<int>{2}));
  EXPECT_TRUE(Parsed(With(json, "n_routed_experts", nullptr)).MoeLayers().empty());
}

TEST(DeepseekV2Config, ReadsBothWaysOfRouting) {
  EXPECT_EQ(Parsed(Deepseek()).moe.rule, RoutingRule::kSoftmaxTopK);
  EXPECT_EQ(Parsed(With(Deepseek(), "routed_scaling_factor", 16)).moe.weight_scale, 16);
  const ModelConfig config = Parsed(GroupLimited());
  EXPECT_EQ(config.moe.rule, RoutingRule::kGroupLimited);
  EXPECT_EQ(config.moe.num_groups, 4);
  EXPECT_EQ(config.moe.groups_per_token, 2);
}

TEST(DeepseekV2Config, RefusesGroupsThatDoNotFit) {
  EXPECT_CONTAINS(Refusal(GroupLimited(), "n_group", 3), "divide");
  EXPECT_CONTAINS(Refusal(GroupLimited(), "n_group", nullptr), "integer");
  EXPECT_CONTAINS(Refusal(GroupLimited(), "topk_group", 5), "5");
  EXPECT_CONTAINS(Refusal(With(GroupLimited(), "num_experts_per_tok", 3), "topk_group", 1),
                  "fewer experts");
}

TEST(DeepseekV2Config, RefusesWhatOnlyLaterModelsHave) {
  EXPECT_CONTAINS(Refusal(Deepseek(), "topk_method", "noaux_tc"), "noaux_tc");
  EXPECT_CONTAINS(Refusal(Deepseek(), "scoring_func", "sigmoid"), "sigmoid");
  EXPECT_CONTAINS(Refusal(Deepseek(), "norm_topk_prob", true), "true");
  EXPECT_CONTAINS(Refusal(Deepseek(), "attention_bias", true), "true");
}

TEST(DeepseekV2Config, RefusesHeadsThatDoNotFit) {
  EXPECT_CONTAINS(Refusal(Deepseek(), "num_key_value_heads", 2), "2");
  EXPECT_CONTAINS(Refusal(Deepseek(), "qk_rope_head_dim", 15), "even");
  EXPECT_CONTAINS(Refusal(Deepseek(), "kv_lora_rank", 0), "0");
  EXPECT_CONTAINS(Refusal(Deepseek(), "v_head_dim", nullptr), "integer");
  EXPECT_CONTAINS(
      Refusal(With(Deepseek(), "qk_nope_head_dim", 1'000'000), "num_attention_heads", 4),
      "1000020");
  EXPECT_CONTAINS(Refusal(Deepseek(), "n_shared_experts", 25'001), "25001");
}

TEST(GptOssConfig, HasSinksBiasesAndClampedExperts) {
  const ModelConfig config = Parsed(GptOss());
  EXPECT_TRUE(config.attention.has_sinks);
  EXPECT_TRUE(config.attention.projection_bias);
  EXPECT_TRUE(config.attention.output_bias);
  EXPECT_TRUE(config.moe.router_bias);
  EXPECT_TRUE(config.moe.expert_bias);
  EXPECT_EQ(config.moe.rule, RoutingRule::kTopKSoftmax);
  EXPECT_EQ(config.moe.activation, ExpertActivation::kClampedSwiGlu);
  EXPECT_EQ(config.moe.activation_limit, 7);
  EXPECT_EQ(config.rope.theta, 150'000);
  EXPECT_EQ(Parsed(With(GptOss(), "swiglu_limit", 5)).moe.activation_limit, 5);
  EXPECT_EQ(config.ExpertParameters(), 3 * 64 * 48 + 2 * 48 + 64);
}

TEST(GptOssConfig, AlternatesWindowsOrFollowsItsList) {
  const ModelConfig config = Parsed(GptOss());
  EXPECT_EQ(config.attention.WindowOf(0), 32);
  EXPECT_EQ(config.attention.WindowOf(1), 0);
  EXPECT_EQ(config.attention.WindowOf(2), 32);
  const Json types = {"full_attention", "full_attention", "full_attention", "sliding_attention"};
  const ModelConfig listed = Parsed(With(GptOss(), "layer_types", types));
  EXPECT_EQ(listed.attention.WindowOf(0), 0);
  EXPECT_EQ(listed.attention.WindowOf(3), 32);
}

TEST(GptOssConfig, TakesMxfp4AndNoOtherQuantization) {
  EXPECT_EQ(Parsed(With(GptOss(), "quantization_config", {{"quant_method", "mxfp4"}})).family,
            "gpt_oss");
  EXPECT_CONTAINS(Refusal(GptOss(), "quantization_config", {{"quant_method", "fp8"}}), "fp8");
  EXPECT_CONTAINS(Refusal(GptOss(), "quantization_config", {{"bits", 4}}), "bits");
}

TEST(GptOssConfig, RefusesWindowsThatAreNone) {
  EXPECT_CONTAINS(Refusal(GptOss(), "sliding_window", nullptr), "has one");
  EXPECT_CONTAINS(Refusal(GptOss(), "layer_types", Json{"sliding_attention"}), "4 layers");
  EXPECT_CONTAINS(Refusal(GptOss(), "layer_types",
                          Json{"full_attention", "chunked", "full_attention", "full_attention"}),
                  "chunked");
}

TEST(GptOssConfig, RefusesTwoNumbersOfChoicesThatDiffer) {
  EXPECT_CONTAINS(Refusal(GptOss(), "experts_per_token", 4), "num_experts_per_tok");
}

TEST(GptOssConfig, RefusesALimitThatIsNone) {
  EXPECT_CONTAINS(Refusal(GptOss(), "swiglu_limit", 0), "0");
}

TEST(EveryFamily, RefusesWhatItDoesNotCompute) {
  for (const Json& json : {CommonFields("phimoe"), CommonFields("olmoe"), CommonFields("mixtral"),
                           CommonFields("granitemoe"), Qwen2(), Deepseek(), GptOss()}) {
    EXPECT_CONTAINS(Refusal(json, "hidden_act", "gelu"), "gelu");
    EXPECT_CONTAINS(Refusal(json, "quantization_config", {{"quant_method", "gptq"}}), "gptq");
    EXPECT_CONTAINS(Refusal(json, "partial_rotary_factor", 0.5), "0.5");
    EXPECT_CONTAINS(Refusal(json, "num_experts_per_tok", 9), "9");
    EXPECT_CONTAINS(Refusal(json, "hidden_size", -1), "-1");
  }
}

}  // namespace
}  // namespace npumoe
