// A model's config from a GGUF's metadata, and back.
//
// What llama.cpp's keys say is read from and written to them. What they do not say (where dense
// layers stand among the others, jitter, limits, both attention factors of LongRoPE, ...) stands in
// keys "npumoe.*"; a file without them gets what is usual for its architecture. Some facts show
// in the tensors only: biases, tied embeddings, the vocabulary's size.
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "base/tensor_view.h"
#include "model/config.h"
#include "model/gguf/gguf_metadata.h"
#include "model/gguf/metadata_builder.h"

namespace npumoe {

// The rotary factors of LongRoPE, F32 [head_dim / 2], which the config is read from.
inline constexpr const char* kGgufLongFactors = "rope_factors_long.weight";
inline constexpr const char* kGgufShortFactors = "rope_factors_short.weight";

Result<ModelConfig> ConfigFromGguf(const GgufMetadata& metadata,
                                   const std::map<std::string, TensorView>& tensors);

// The config as ConfigFromGguf will read it: rows of q and k as the architecture's files have them.
ModelConfig GgufFormOf(const ModelConfig& config);
// Adds general.architecture and everything that ConfigFromGguf reads from keys.
void AddConfigToGguf(const ModelConfig& config, GgufMetadataBuilder& builder);

}  // namespace npumoe
