#include "model/gguf/hub_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "model/gguf/gguf_config.h"
#include "model/gguf/hub_rope.h"

namespace npumoe {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string_view TorchName(DType dtype) {
  if (dtype == DType::kF32) return "float32";
  return dtype == DType::kF16 ? "float16" : "bfloat16";
}

void AddBackbone(const ModelConfig& config, OrderedJson& json) {
  json["hidden_act"] = "silu";
  json["hidden_size"] = config.hidden_size;
  json["num_hidden_layers"] = config.num_layers;
  json["vocab_size"] = config.vocab_size;
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["rms_norm_eps"] = ShortestDecimal(config.norm_eps);
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["num_attention_heads"] = config.attention.num_heads;
  json["num_key_value_heads"] = config.attention.num_kv_heads;
}

void AddGroupedQuery(const ModelConfig& config, OrderedJson& json) {
  json["head_dim"] = config.attention.head_dim;
  json["attention_bias"] = config.attention.projection_bias;
}

OrderedJson WindowOf(const ModelConfig& config) {
  if (config.attention.window_tokens == 0) return nullptr;
  return config.attention.window_tokens;
}

// Experts under the names of Qwen and OLMoE ("num_experts") or of Mixtral ("num_local_experts").
void AddExperts(const ModelConfig& config, const char* count_key, const char* width_key,
                OrderedJson& json) {
  json[count_key] = config.moe.num_experts;
  if (config.moe.num_experts == 0) return;
  json["num_experts_per_tok"] = config.moe.experts_per_token;
  json[width_key] = config.moe.expert_intermediate_size;
}

void AddDenseLayers(const ModelConfig& config, OrderedJson& json) {
  std::vector<int> dense;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    if (!config.is_moe_layer[static_cast<size_t>(layer)]) dense.push_back(layer);
  }
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = dense;
  json["intermediate_size"] =
      dense.empty() ? config.moe.expert_intermediate_size : config.dense_intermediate_size;
}

void AddQwen(const ModelConfig& config, OrderedJson& json) {
  AddExperts(config, "num_experts", "moe_intermediate_size", json);
  json["norm_topk_prob"] = config.moe.normalize_top_k;
  AddDenseLayers(config, json);
  json["use_sliding_window"] = false;
  if (config.family == "qwen3_moe") return AddGroupedQuery(config, json);
  json["head_dim"] = config.attention.head_dim;
  json["qkv_bias"] = config.attention.projection_bias;
  json["shared_expert_intermediate_size"] = config.moe.shared_intermediate_size;
}

void AddOlmoe(const ModelConfig& config, OrderedJson& json) {
  AddGroupedQuery(config, json);
  AddExperts(config, "num_experts", "intermediate_size", json);
  json["norm_topk_prob"] = config.moe.normalize_top_k;
  const float clip = config.attention.clip_qkv;
  json["clip_qkv"] = clip > 0 ? OrderedJson(ShortestDecimal(clip)) : OrderedJson(nullptr);
}

void AddMixtral(const ModelConfig& config, OrderedJson& json) {
  json["head_dim"] = config.attention.head_dim;
  AddExperts(config, "num_local_experts", "intermediate_size", json);
  json["sliding_window"] = WindowOf(config);
}

void AddGranite(const ModelConfig& config, OrderedJson& json) {
  AddGroupedQuery(config, json);
  AddExperts(config, "num_local_experts", "intermediate_size", json);
  json["embedding_multiplier"] = ShortestDecimal(config.embedding_multiplier);
  json["residual_multiplier"] = ShortestDecimal(config.residual_multiplier);
  json["logits_scaling"] = ShortestDecimal(config.logits_divisor);
  json["attention_multiplier"] = ShortestDecimal(config.attention.Scale());
}

void AddPhi(const ModelConfig& config, OrderedJson& json) {
  AddGroupedQuery(config, json);
  AddExperts(config, "num_local_experts", "intermediate_size", json);
  json["lm_head_bias"] = config.lm_head_bias;
  json["sliding_window"] = WindowOf(config);
  json["router_jitter_noise"] = ShortestDecimal(config.moe.sparse_mixer_jitter);
  if (const auto* rope = std::get_if<LongRopeScaling>(&config.rope.scaling)) {
    json["original_max_position_embeddings"] = rope->original_max_positions;
  }
}

void AddLatent(const LatentAttention& latent, OrderedJson& json) {
  json["attention_bias"] = false;
  json["q_lora_rank"] =
      latent.q_lora_rank > 0 ? OrderedJson(latent.q_lora_rank) : OrderedJson(nullptr);
  json["kv_lora_rank"] = latent.kv_lora_rank;
  json["qk_nope_head_dim"] = latent.nope_head_dim;
  json["qk_rope_head_dim"] = latent.rope_head_dim;
  json["v_head_dim"] = latent.value_head_dim;
}

// The distance between layers with experts behind the dense ones; 1 where there is one such layer.
int MoeLayerStep(const std::vector<int>& moe_layers) {
  return moe_layers.size() < 2 ? 1 : moe_layers[1] - moe_layers[0];
}

void AddDeepseek(const ModelConfig& config, OrderedJson& json) {
  const MoeConfig& moe = config.moe;
  NPUMOE_CHECK(config.attention.latent.has_value());
  AddLatent(*config.attention.latent, json);
  AddExperts(config, "n_routed_experts", "moe_intermediate_size", json);
  const std::vector<int> moe_layers = config.MoeLayers();
  json["n_shared_experts"] =
      moe.has_shared_expert() ? moe.shared_intermediate_size / moe.expert_intermediate_size : 0;
  json["first_k_dense_replace"] = moe_layers.empty() ? config.num_layers : moe_layers.front();
  json["moe_layer_freq"] = MoeLayerStep(moe_layers);
  json["intermediate_size"] = config.dense_intermediate_size > 0 ? config.dense_intermediate_size
                                                                 : moe.expert_intermediate_size;
  const bool groups = moe.rule == RoutingRule::kGroupLimited;
  json["topk_method"] = groups ? "group_limited_greedy" : "greedy";
  json["n_group"] = moe.num_groups;
  json["topk_group"] = moe.groups_per_token;
  json["scoring_func"] = "softmax";
  json["norm_topk_prob"] = moe.normalize_top_k;
  json["routed_scaling_factor"] = ShortestDecimal(moe.weight_scale);
}

void AddGptOss(const ModelConfig& config, OrderedJson& json) {
  AddGroupedQuery(config, json);
  AddExperts(config, "num_local_experts", "intermediate_size", json);
  json["experts_per_token"] = config.moe.experts_per_token;
  json["sliding_window"] = config.attention.window_tokens;
  json["swiglu_limit"] = ShortestDecimal(config.moe.activation_limit);
  json["layer_types"] = OrderedJson::array();
  for (int layer = 0; layer < config.num_layers; ++layer) {
    json["layer_types"].push_back(config.attention.WindowOf(layer) > 0 ? "sliding_attention"
                                                                       : "full_attention");
  }
}

struct HubFamily {
  std::string_view family;
  std::string_view architecture;
  void (*add)(const ModelConfig&, OrderedJson&);
};
constexpr HubFamily kFamilies[] = {
    {"qwen3_moe", "Qwen3MoeForCausalLM", &AddQwen},
    {"qwen2_moe", "Qwen2MoeForCausalLM", &AddQwen},
    {"olmoe", "OlmoeForCausalLM", &AddOlmoe},
    {"mixtral", "MixtralForCausalLM", &AddMixtral},
    {"granitemoe", "GraniteMoeForCausalLM", &AddGranite},
    {"phimoe", "PhimoeForCausalLM", &AddPhi},
    {"deepseek_v2", "DeepseekV2ForCausalLM", &AddDeepseek},
    {"gpt_oss", "GptOssForCausalLM", &AddGptOss},
};

const HubFamily& FamilyOf(const ModelConfig& config) {
  const auto found = std::ranges::find(kFamilies, config.family, &HubFamily::family);
  NPUMOE_CHECK(found != std::end(kFamilies));
  return *found;
}

// Everything that metadata can say, and what shows in tensors.
bool SameConfig(const ModelConfig& a, const ModelConfig& b) {
  GgufMetadataBuilder keys_of_a;
  GgufMetadataBuilder keys_of_b;
  AddConfigToGguf(a, keys_of_a);
  AddConfigToGguf(b, keys_of_b);
  return keys_of_a.bytes() == keys_of_b.bytes() && a.rope.pairs == b.rope.pairs &&
         a.lm_head_bias == b.lm_head_bias && a.tie_word_embeddings == b.tie_word_embeddings &&
         a.attention.projection_bias == b.attention.projection_bias &&
         a.attention.output_bias == b.attention.output_bias &&
         a.moe.shared_gate == b.moe.shared_gate;
}

}  // namespace

ModelConfig HubFormOf(const ModelConfig& config) {
  ModelConfig form = config;
  form.rope.pairs = config.attention.latent ? RopePairs::kInterleaved : RopePairs::kHalves;
  return form;
}

Result<std::string> HubConfigOf(const ModelConfig& config, const HubWeights& weights) {
  const HubFamily& family = FamilyOf(config);
  OrderedJson json;
  json["architectures"] = {family.architecture};
  json["model_type"] = family.family;
  AddBackbone(config, json);
  family.add(config, json);
  AddHubRope(config, json);
  json["torch_dtype"] = TorchName(weights.dtype);
  if (weights.mxfp4_experts) json["quantization_config"] = {{"quant_method", "mxfp4"}};
  const std::string text = json.dump(2) + "\n";
  NPUMOE_ASSIGN_OR_RETURN(const Json parsed, ParseJson(text, "config.json"));
  const Result<ModelConfig> read = ParseModelConfig(parsed, "config.json");
  if (read.ok() && SameConfig(*read, HubFormOf(config))) return text;
  return Unsupported(
      "a config.json of family " + config.family + " cannot say everything that this GGUF does" +
      (read.ok() ? std::string() : " (" + read.status().message() + ")") + "; keep the GGUF");
}

}  // namespace npumoe
