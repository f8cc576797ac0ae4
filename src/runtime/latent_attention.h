// Multi-head latent attention (DeepSeek-V2). The cache holds one row per token, [kv_lora_rank]
// normed and [rope_head_dim] rotated, from which the keys and values of every head follow:
//   k_h = [ kv_b_h^K c | rope ]      v_h = kv_b_h^V c
// Several rows: keys and values are expanded from the cache, a bounded number of heads at a time.
// One row (decode): kv_b^K is absorbed into the query and kv_b^V applied to the result, so that
// attention reads the cache alone:
//   q_h . k_h = (kv_b_h^K' q_h) . c + q_h^rope . rope      sum p v_h = kv_b_h^V sum p c
#pragma once

#include "runtime/layer.h"

namespace npumoe {

// Writes the rows' latents into the cache and the heads' outputs [tokens, output_size] to
// `attended`. `normed` [tokens, hidden] is the layer's normed input.
void AttendLatent(LayerContext& context, int layer, const ChunkRows& rows, ConstMatrix normed,
                  Matrix attended);

// The same of one row, against what the cache holds up to it with its own latents, which stay as
// they are: those of `normed` go to `latents` [1, cache_size]. With `weights`: the layer's, or what
// a program made of them.
struct LatentRow {
  Matrix latents, attended;
};
void AttendLatentRow(LayerContext& context, int layer, const AttentionWeights& weights,
                     int64_t position, ConstMatrix normed, const LatentRow& out);

}  // namespace npumoe
