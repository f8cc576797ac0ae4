// The attention half of a decoder layer for one chunk of rows:
//   x += residual_multiplier * o(attention(norm(x)))
#pragma once

#include <vector>

#include "kernels/rope/rope.h"
#include "runtime/layer.h"

namespace npumoe {

// Writes keys and values (or latent rows) at the rows' positions into the cache.
void RunAttention(LayerContext& context, int layer, ChunkRows& rows);

// One row of the chunk as RunAttention computes it, against what the cache holds up to it: its own
// key and value, [kv size] each, or its latents [cache_size], and what it adds to the residual,
// [hidden], before the multiplier. With `weights`: the layer's, or what a program made of them.
struct AttentionRow {
  std::vector<std::vector<float>> cached;
  std::vector<float> attended;
};
AttentionRow ComputeAttentionRow(LayerContext& context, int layer, ChunkRows& rows, int64_t row,
                                 const AttentionWeights& weights);

// The running context's rotary embedding for `rows`, which begin at `position`.
RopeArgs RopeFor(const LayerContext& context, Matrix rows, int head_dim, int64_t position);

}  // namespace npumoe
