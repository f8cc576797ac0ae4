// What a model's attention and vocabulary head are as NPU programs: shapes for graph/, and how much
// of the context a layer's attention reads.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "graph/attention_program.h"
#include "model/config.h"

namespace npumoe {

// ok, or what of this model's attention is no attention program: latent attention, rotated pairs
// that lie side by side (kUnsupported).
Status CheckAttentionFits(const ModelConfig& config);

// Of a model that fits.
AttentionProgramShape AttentionShapeOf(const ModelConfig& config);

// Cached tokens that the attention of `layer` reads for a chunk that begins at `position`: all of
// them, or those within its window.
int64_t HistoryTokens(const ModelConfig& config, int layer, int64_t position);

}  // namespace npumoe
