// The attention half of a decoder layer for one chunk of rows:
//   x += residual_multiplier * o(attention(norm(x)))
#pragma once

#include "kernels/rope/rope.h"
#include "runtime/layer.h"

namespace npumoe {

// Writes keys and values (or latent rows) at the rows' positions into the cache.
void RunAttention(LayerContext& context, int layer, ChunkRows& rows);

// The running context's rotary embedding for `rows`, which begin at `position`.
RopeArgs RopeFor(const LayerContext& context, Matrix rows, int head_dim, int64_t position);

}  // namespace npumoe
