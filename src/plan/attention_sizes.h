// How much an attention program of a model multiplies, holds and moves, whatever its kind.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "graph/weights/declare_matrix.h"
#include "model/config.h"

namespace npumoe {

// Which tokens go through a product: the chunk's, or those of the history, too.
enum class ProductRows { kChunk, kHistoryAndChunk };

struct AttentionSizes {
  struct Product {
    MatrixShape matrix;
    ProductRows rows = ProductRows::kChunk;
  };
  std::vector<Product> products;  // with weights
  int64_t hidden = 0;
  int num_heads = 0;
  int64_t key_dim = 0;    // of a head
  int64_t value_dim = 0;  // of a head
  int64_t rotary_dim = 0;
};

// Of a model that fits (attention_shape.h).
AttentionSizes AttentionSizesOf(const ModelConfig& config);
// kUnsupported where one of its matrices has more rows or columns than the chip's channels.
Status CheckAttentionWidths(const ModelConfig& config, int64_t max_channels);
// Numbers in the cache for a token: keys and values of all heads, or its latents.
int64_t CachedDim(const ModelConfig& config);

}  // namespace npumoe
