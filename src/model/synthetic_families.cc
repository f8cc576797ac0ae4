#include <nlohmann/json.hpp>

#include "model/synthetic.h"

namespace npumoe {
namespace {

// What every family needs. Each matrix has rows of 256 or 512 numbers, so that any quantised type
// divides them.
Json CommonFields() {
  return Json{{"hidden_size", 256},       {"num_hidden_layers", 3},
              {"vocab_size", 512},        {"max_position_embeddings", 2048},
              {"num_attention_heads", 4}, {"num_key_value_heads", 2},
              {"head_dim", 64},           {"intermediate_size", 256},
              {"num_experts", 8},         {"num_experts_per_tok", 2}};
}

Json LongRope(int head_dim) {
  Json short_factors = Json::array();
  Json long_factors = Json::array();
  for (int i = 0; i < head_dim / 2; ++i) {  // chosen: grow with the wavelength, as published ones
    short_factors.push_back(1.0 + 0.01 * i);
    long_factors.push_back(1.0 + 0.5 * i);
  }
  return Json{{"type", "longrope"},          {"short_factor", short_factors},
              {"long_factor", long_factors}, {"short_mscale", 1.1},
              {"long_mscale", 1.2},          {"original_max_position_embeddings", 64}};
}

Json DeepseekFields() {
  return Json{{"num_key_value_heads", 4},
              {"q_lora_rank", 256},
              {"kv_lora_rank", 256},
              {"qk_nope_head_dim", 64},
              {"qk_rope_head_dim", 32},
              {"v_head_dim", 64},
              {"n_routed_experts", 8},
              {"moe_intermediate_size", 256},
              {"n_shared_experts", 2},
              {"first_k_dense_replace", 1},
              {"topk_method", "group_limited_greedy"},
              {"n_group", 4},
              {"topk_group", 2},
              {"routed_scaling_factor", 1.5},
              {"rope_scaling",
               {{"type", "yarn"},
                {"factor", 4.0},
                {"original_max_position_embeddings", 512},
                {"mscale", 0.707},
                {"mscale_all_dim", 0.707}}}};
}

Json GptOssFields() {
  return Json{{"sliding_window", 24},
              {"rope_scaling",
               {{"rope_type", "yarn"},
                {"factor", 4.0},
                {"original_max_position_embeddings", 512},
                {"truncate", false}}}};
}

// What makes the family what it is, beyond the common fields.
Json OwnFields(std::string_view model_type) {
  if (model_type == "deepseek_v2") return DeepseekFields();
  if (model_type == "gpt_oss") return GptOssFields();
  if (model_type == "granitemoe") {
    return Json{{"embedding_multiplier", 12.0},
                {"attention_multiplier", 0.0625},
                {"residual_multiplier", 0.22},
                {"logits_scaling", 6.0},
                {"tie_word_embeddings", true}};
  }
  if (model_type == "mixtral") return Json{{"sliding_window", 24}};
  if (model_type == "olmoe") return Json{{"clip_qkv", 2.0}};
  if (model_type == "phimoe") {
    return Json{{"attention_bias", true}, {"lm_head_bias", true}, {"rope_scaling", LongRope(64)}};
  }
  if (model_type == "qwen2_moe") {
    return Json{{"moe_intermediate_size", 256}, {"shared_expert_intermediate_size", 512}};
  }
  return Json{{"moe_intermediate_size", 256},
              {"norm_topk_prob", true},
              {"mlp_only_layers", {1}},
              {"tie_word_embeddings", true}};
}

}  // namespace

Result<ModelConfig> SmallConfigOf(std::string_view model_type) {
  Json json = CommonFields();
  json["model_type"] = model_type;
  json.update(OwnFields(model_type));
  return ParseModelConfig(json, "small " + std::string(model_type));
}

}  // namespace npumoe
