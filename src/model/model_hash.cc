#include "model/model_hash.h"

#include <algorithm>
#include <bit>

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

}  // namespace

void AddConfigToHash(const ModelConfig& config, Hasher& hasher) {
  const AttentionConfig& a = config.attention;
  hasher.Add(config.family);
  for (const int64_t field :
       {config.hidden_size, config.num_layers, config.vocab_size, config.max_position_embeddings,
        config.dense_intermediate_size, int{config.tie_word_embeddings}, a.num_heads,
        a.num_kv_heads, a.head_dim, int{a.projection_bias}, int{a.output_bias},
        static_cast<int>(a.qk_norm), config.moe.num_experts, config.moe.experts_per_token,
        config.moe.expert_intermediate_size, int{config.moe.normalize_top_k}}) {
    hasher.Add(field);
  }
  hasher.Add(int64_t{std::bit_cast<int32_t>(config.norm_eps)});
  hasher.Add(std::bit_cast<int64_t>(config.rope.theta));
  for (const bool moe : config.is_moe_layer) hasher.Add(int64_t{moe});
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
