// Rotary positions in GGUF: keys "rope.*", and the factors of LongRoPE as two small tensors.
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "base/tensor_view.h"
#include "model/config.h"
#include "model/gguf/architecture_keys.h"

namespace npumoe {

// Needs config.attention. Sets config.rope, and config.attention.scale where YaRN sharpens there.
Status ReadGgufRope(const ArchitectureKeys& keys, const std::map<std::string, TensorView>& tensors,
                    ModelConfig& config);
void AddGgufRope(const ModelConfig& config, ArchitectureKeyWriter& writer);

}  // namespace npumoe
