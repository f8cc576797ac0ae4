// CPU experts: gathers the rows of CPU shares, runs the expert FFNs, and notes where each
// assignment's output row lies.
#pragma once

#include "runtime/moe_dispatch.h"

namespace npumoe {

// Computes moe.cpu_shares of the layer into `results` and enters them into moe.outputs. `results`
// must stay as it is until the chunk is combined.
void RunShares(LayerContext& context, int layer, ChunkRows& rows, AlignedBuffer<float>& results,
               MoeState& moe);

}  // namespace npumoe
