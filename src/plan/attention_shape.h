// What a model's attention is as an NPU program: shapes for graph/, and how much of the context a
// layer's attention reads.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "graph/attention_program.h"
#include "graph/latent_attention_program.h"
#include "model/config.h"

namespace npumoe {

// ok, or what of this model's attention is no attention program: latent attention with biases,
// norms of heads, clips or sinks, which no model has (kUnsupported).
Status CheckAttentionFits(const ModelConfig& config);

// Of a model that fits: without latent attention, and with it.
AttentionProgramShape AttentionShapeOf(const ModelConfig& config);
LatentProgramShape LatentShapeOf(const ModelConfig& config);

// Cached tokens that the attention of `layer` reads for a chunk that begins at `position`: all of
// them, or those within its window.
int64_t HistoryTokens(const ModelConfig& config, int layer, int64_t position);

}  // namespace npumoe
