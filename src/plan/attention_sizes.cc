#include "plan/attention_sizes.h"

#include <fmt/format.h>

#include <algorithm>

#include "plan/attention_shape.h"

namespace npumoe {
namespace {

AttentionSizes Grouped(const AttentionProgramShape& shape) {
  const int64_t keys = shape.num_kv_heads * shape.head_dim;
  const int64_t values = shape.num_kv_heads * shape.value_dim;
  AttentionSizes sizes;
  sizes.products = {{{shape.num_heads * shape.head_dim, shape.hidden}},
                    {{keys, shape.hidden}},
                    {{values, shape.hidden}},
                    {{shape.hidden, shape.num_heads * shape.value_dim}}};
  sizes.hidden = shape.hidden;
  sizes.num_heads = shape.num_heads;
  sizes.key_dim = shape.head_dim;
  sizes.value_dim = shape.value_dim;
  sizes.rotary_dim = shape.rotary_dim;
  return sizes;
}

AttentionSizes Latent(const LatentProgramShape& shape) {
  AttentionSizes sizes;
  const int64_t queries = shape.num_heads * shape.key_dim();
  if (shape.query_rank > 0) sizes.products.push_back({{shape.query_rank, shape.hidden}});
  sizes.products.push_back({{queries, shape.query_rank > 0 ? shape.query_rank : shape.hidden}});
  sizes.products.push_back({{shape.latent_dim(), shape.hidden}});
  for (int head = 0; head < shape.num_heads; ++head) {
    sizes.products.push_back({{shape.expanded_dim(), shape.rank}, ProductRows::kHistoryAndChunk});
  }
  sizes.products.push_back({{shape.hidden, shape.num_heads * shape.value_dim}});
  sizes.hidden = shape.hidden;
  sizes.num_heads = shape.num_heads;
  sizes.key_dim = shape.key_dim();
  sizes.value_dim = shape.value_dim;
  sizes.rotary_dim = shape.rotary_dim;
  return sizes;
}

}  // namespace

AttentionSizes AttentionSizesOf(const ModelConfig& config) {
  return config.attention.latent ? Latent(LatentShapeOf(config))
                                 : Grouped(AttentionShapeOf(config));
}

Status CheckAttentionWidths(const ModelConfig& config, int64_t max_channels) {
  for (const AttentionSizes::Product& product : AttentionSizesOf(config).products) {
    const int64_t widest = std::max(product.matrix.out, product.matrix.in);
    if (widest <= max_channels) continue;
    return Unsupported(
        fmt::format("attention with a matrix of {} channels is CPU work; the chip takes {}", widest,
                    max_channels));
  }
  return OkStatus();
}

int64_t CachedDim(const ModelConfig& config) {
  const AttentionConfig& attention = config.attention;
  if (attention.latent) return attention.latent->cache_size();
  return int64_t{attention.num_kv_heads} * (attention.head_dim + attention.value_head_dim());
}

}  // namespace npumoe
