#include "model/model_hash.h"

#include <algorithm>
#include <bit>
#include <initializer_list>

namespace npumoe {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kMaxPages = 16;         // 64 KiB of a tensor; smaller tensors are hashed whole
constexpr size_t kMinPages = 2;          // both ends
constexpr size_t kPagesOfModel = 16384;  // 64 MiB: chosen, a tenth of a second from a slow disk

void AddSamples(std::span<const std::byte> bytes, size_t pages, Hasher& hasher) {
  if (bytes.size() <= kMaxPages * kPageBytes) {
    hasher.Add(bytes);
    return;
  }
  const size_t last_page = bytes.size() / kPageBytes - 1;
  for (size_t i = 0; i < pages; ++i) {
    hasher.Add(bytes.subspan(last_page * i / (pages - 1) * kPageBytes, kPageBytes));
  }
}

void AddInts(std::initializer_list<int64_t> values, Hasher& hasher) {
  for (const int64_t value : values) hasher.Add(value);
}

// By their bits: two numbers that print alike may compute differently.
void AddNumbers(std::initializer_list<double> values, Hasher& hasher) {
  for (const double value : values) hasher.Add(std::bit_cast<int64_t>(value));
}

// The count first, so that two lists in a row cannot trade elements.
template <class List>
void AddList(const List& values, Hasher& hasher) {
  hasher.Add(static_cast<int64_t>(values.size()));
  for (const auto value : values) AddNumbers({static_cast<double>(value)}, hasher);
}

void AddAttention(const AttentionConfig& a, Hasher& hasher) {
  AddInts({a.num_heads, a.num_kv_heads, a.head_dim, a.projection_bias, a.output_bias,
           static_cast<int>(a.qk_norm), a.has_sinks, a.window_tokens, a.latent.has_value()},
          hasher);
  AddNumbers({a.clip_qkv, a.scale}, hasher);
  AddList(a.layer_has_window, hasher);
  const LatentAttention latent = a.latent.value_or(LatentAttention());
  AddInts({latent.q_lora_rank, latent.kv_lora_rank, latent.nope_head_dim, latent.rope_head_dim,
           latent.value_head_dim},
          hasher);
  AddNumbers({latent.norm_eps}, hasher);
}

void AddRope(const RopeConfig& rope, Hasher& hasher) {
  AddNumbers({rope.theta}, hasher);
  AddInts({static_cast<int>(rope.pairs), static_cast<int64_t>(rope.scaling.index())}, hasher);
  if (const auto* yarn = std::get_if<YarnScaling>(&rope.scaling)) {
    AddNumbers({yarn->factor, yarn->original_max_positions, yarn->beta_fast, yarn->beta_slow,
                yarn->attention_factor},
               hasher);
    AddInts({yarn->truncate}, hasher);
  }
  if (const auto* longrope = std::get_if<LongRopeScaling>(&rope.scaling)) {
    AddList(longrope->short_factors, hasher);
    AddList(longrope->long_factors, hasher);
    AddInts({longrope->original_max_positions}, hasher);
    AddNumbers({longrope->short_attention_factor, longrope->long_attention_factor}, hasher);
  }
}

void AddMoe(const MoeConfig& moe, Hasher& hasher) {
  AddInts({moe.num_experts, moe.experts_per_token, moe.expert_intermediate_size,
           static_cast<int>(moe.rule), moe.normalize_top_k, moe.num_groups, moe.groups_per_token,
           moe.router_bias, moe.expert_bias, static_cast<int>(moe.activation),
           moe.shared_intermediate_size, moe.shared_gate},
          hasher);
  AddNumbers({moe.weight_scale, moe.sparse_mixer_jitter, moe.activation_limit}, hasher);
}

}  // namespace

void AddConfigToHash(const ModelConfig& config, Hasher& hasher) {
  hasher.Add(config.family);
  AddInts({config.hidden_size, config.num_layers, config.vocab_size, config.max_position_embeddings,
           config.dense_intermediate_size, static_cast<int>(config.norm), config.lm_head_bias,
           config.tie_word_embeddings},
          hasher);
  AddNumbers({config.norm_eps, config.embedding_multiplier, config.residual_multiplier,
              config.logits_divisor},
             hasher);
  AddAttention(config.attention, hasher);
  AddRope(config.rope, hasher);
  AddMoe(config.moe, hasher);
  AddList(config.is_moe_layer, hasher);
}

std::string HashOfModel(const ModelConfig& config,
                        const std::map<std::string, TensorView>& tensors) {
  Hasher hasher;
  AddConfigToHash(config, hasher);
  const size_t pages =
      std::clamp(kPagesOfModel / std::max<size_t>(tensors.size(), 1), kMinPages, kMaxPages);
  for (const auto& [name, tensor] : tensors) {
    hasher.Add(name).Add(std::string_view(Name(tensor.dtype)));
    hasher.Add(std::string_view(tensor.shape.ToString()));
    AddSamples({tensor.data, tensor.bytes()}, pages, hasher);
  }
  return hasher.Hex();
}

}  // namespace npumoe
