// ModelConfig: the shape of a model, one struct for every family. Filled by families/<family>.cc
// from config.json; everything that computes reads only this.
//
// A field of config.json that would change the result and that this build does not support is
// refused by name when the config is read; nothing here is ever silently ignored.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace npumoe {

struct AttentionConfig {
  int num_heads = 0;
  int num_kv_heads = 0;          // divides num_heads
  int head_dim = 0;              // even; independent of hidden_size / num_heads
  bool projection_bias = false;  // q, k, v and (where the tensor exists) o carry a bias
  bool output_bias = false;
  bool qk_norm_per_head = false;  // RMS norm over head_dim of every q and k head, before rotary

  int query_size() const { return num_heads * head_dim; }
  int kv_size() const { return num_kv_heads * head_dim; }
};

struct RopeConfig {
  double theta = 10000.0;
};

struct MoeConfig {
  int num_experts = 0;
  int experts_per_token = 0;
  int expert_intermediate_size = 0;
  bool normalize_top_k = false;  // divide the chosen weights by their sum
};

struct ModelConfig {
  std::string family;  // "qwen3_moe"
  int hidden_size = 0;
  int num_layers = 0;
  int vocab_size = 0;
  int max_position_embeddings = 0;
  int dense_intermediate_size = 0;
  float rms_norm_eps = 1e-6f;
  bool tie_word_embeddings = false;
  AttentionConfig attention;
  RopeConfig rope;
  MoeConfig moe;
  std::vector<bool> is_moe_layer;  // [num_layers]; the others have one dense FFN

  std::vector<int> MoeLayers() const;  // indices of the MoE layers, ascending
  int64_t TotalParameters() const;
  int64_t ActiveParameters() const;  // per token
  // Parameters of one expert: 3 * hidden * expert_intermediate.
  int64_t ExpertParameters() const;
};

// Finds the family by `model_type` and reads the rest. `name` starts every message. An unknown
// model type lists the known ones.
Result<ModelConfig> ParseModelConfig(const Json& config_json, const std::string& name);

}  // namespace npumoe
