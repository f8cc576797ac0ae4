// ModelConfig: the shape of a model, one struct for every family. Filled by families/<family>.cc
// from config.json; everything that computes reads only this.
//
// A field of config.json that would change the result and that this build does not support is
// refused by name when the config is read; nothing here is ever silently ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace npumoe {

// RMS norm of q and k before rotary: of every head (weight [head_dim]) or of the whole row
// (weights [query_size] and [kv_size]).
enum class QkNorm : uint8_t { kNone, kPerHead, kWholeRow };

// Multi-head latent attention (DeepSeek-V2): keys and values of all heads come from one row per
// token, [kv_lora_rank] normed + [rope_head_dim] rotated; only that row is cached.
//   q_h = [nope | rope], k_h = [kv_b rows of h | shared rope part], v_h = kv_b rows of h
struct LatentAttention {
  int q_lora_rank = 0;  // 0: q is one product, else q_b(norm(q_a x))
  int kv_lora_rank = 0;
  int nope_head_dim = 0;
  int rope_head_dim = 0;
  int value_head_dim = 0;
  float norm_eps = 1e-6f;  // of the norms of q_a and kv_a, whatever the model's others have

  int cache_size() const { return kv_lora_rank + rope_head_dim; }
};

struct AttentionConfig {
  int num_heads = 0;
  int num_kv_heads = 0;          // divides num_heads; equal to it with latent attention
  int head_dim = 0;              // of q and k; even; latent: nope + rope
  bool projection_bias = false;  // q, k, v and (where the tensor exists) o carry a bias
  bool output_bias = false;
  QkNorm qk_norm = QkNorm::kNone;
  float clip_qkv = 0;  // q, k, v are clamped to [-clip, clip] after the (normed) projection; 0: no
  bool has_sinks = false;     // one learned logit per head joins the softmax and adds no value
  float scale = 0;            // of q . k; 0: 1 / sqrt(head_dim)
  int64_t window_tokens = 0;  // a query sees itself and the window - 1 tokens before; 0: all
  std::vector<bool> layer_has_window;     // [num_layers]; empty: all layers alike
  std::optional<LatentAttention> latent;  // none: grouped-query attention

  int query_size() const { return num_heads * head_dim; }
  int kv_size() const { return num_kv_heads * head_dim; }
  int value_head_dim() const { return latent ? latent->value_head_dim : head_dim; }
  int output_size() const { return num_heads * value_head_dim(); }  // input of o
  float Scale() const;
  int64_t WindowOf(int layer) const;  // 0: none
};

// YaRN: low frequencies interpolated by `factor`, high ones kept, between the two a ramp.
struct YarnScaling {
  double factor = 1;
  double original_max_positions = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;        // the ramp's ends are rounded outward to whole dimensions
  float attention_factor = 1;  // multiplies cos and sin; from mscale, mscale_all_dim or factor
};

// LongRoPE: frequency i is divided by short_factors[i], or by long_factors[i] for a context
// beyond original_max_positions; then the whole sequence uses the long ones.
struct LongRopeScaling {
  std::vector<double> short_factors;  // [rotary dims / 2]
  std::vector<double> long_factors;
  int64_t original_max_positions = 0;
  float short_attention_factor = 1;  // multiply cos and sin
  float long_attention_factor = 1;
};

// Which two elements of a head turn together.
enum class RopePairs : uint8_t {
  kHalves,       // i and i + d/2, as Hugging Face stores most models
  kInterleaved,  // 2i and 2i + 1 (DeepSeek; Llama-like architectures in GGUF)
};

struct RopeConfig {
  double theta = 10000.0;
  RopePairs pairs = RopePairs::kHalves;
  std::variant<std::monostate, YarnScaling, LongRopeScaling> scaling;
};

enum class RoutingRule : uint8_t {
  kSoftmaxTopK,   // softmax over all, the k largest, divided by their sum if normalize_top_k
  kTopKSoftmax,   // the k largest logits, softmax over them
  kSparseMixer,   // Phi-MoE's two rounds: each masks logits far below its maximum
  kGroupLimited,  // softmax; the best groups by their largest member; top k inside them
};

enum class ExpertActivation : uint8_t {
  kSwiGlu,         // silu(gate) * up
  kClampedSwiGlu,  // gpt-oss: (clamp(up, +-limit) + 1) * g * sigmoid(1.702 g), g = min(gate, limit)
};

struct MoeConfig {
  int num_experts = 0;        // routed
  int experts_per_token = 0;  // routed
  int expert_intermediate_size = 0;
  RoutingRule rule = RoutingRule::kSoftmaxTopK;
  bool normalize_top_k = false;   // divide the chosen weights by their sum
  float weight_scale = 1;         // multiplies the chosen weights at the end
  float sparse_mixer_jitter = 0;  // epsilon of kSparseMixer
  int num_groups = 1;             // kGroupLimited
  int groups_per_token = 1;
  bool router_bias = false;
  bool expert_bias = false;  // gate, up and down carry a bias
  ExpertActivation activation = ExpertActivation::kSwiGlu;
  float activation_limit = 0;
  // The shared expert (several are one wider one) is the layer's expert number `num_experts`,
  // which every token chooses, in its last slot.
  int shared_intermediate_size = 0;  // 0: none
  bool shared_gate = false;          // weighed by sigmoid(shared_gate . x), else by 1

  bool has_shared_expert() const { return shared_intermediate_size > 0; }
  // Experts and choices per token with the shared one; what dispatch, plans and programs count.
  int expert_count() const { return num_experts + (has_shared_expert() ? 1 : 0); }
  int choices_per_token() const { return experts_per_token + (has_shared_expert() ? 1 : 0); }
  int IntermediateOf(int expert) const {
    return expert < num_experts ? expert_intermediate_size : shared_intermediate_size;
  }
};

enum class NormKind : uint8_t { kRms, kLayer };  // layer norms subtract the mean and add a bias

struct ModelConfig {
  std::string family;  // "qwen3_moe"
  int hidden_size = 0;
  int num_layers = 0;
  int vocab_size = 0;
  int max_position_embeddings = 0;
  int dense_intermediate_size = 0;
  NormKind norm = NormKind::kRms;
  float norm_eps = 1e-6f;
  float embedding_multiplier = 1;
  float residual_multiplier = 1;  // of what attention and FFN add to the residual
  float logits_divisor = 1;
  bool lm_head_bias = false;
  bool tie_word_embeddings = false;
  AttentionConfig attention;
  RopeConfig rope;
  MoeConfig moe;
  std::vector<bool> is_moe_layer;  // [num_layers]; the others have one dense FFN

  std::vector<int> MoeLayers() const;  // indices of the MoE layers, ascending
  int64_t TotalParameters() const;
  int64_t ActiveParameters() const;  // per token
  // Parameters of one routed expert: 3 * hidden * expert_intermediate (and its biases).
  int64_t ExpertParameters() const;
};

// Refuses sizes that are within their limits one by one and absurd together.
Status CheckModelSize(const ModelConfig& config, const std::string& name);

// Finds the family by `model_type` and reads the rest. `name` starts every message. An unknown
// model type lists the known ones.
Result<ModelConfig> ParseModelConfig(const Json& config_json, const std::string& name);

}  // namespace npumoe
