// Experts in GGUF: keys "expert_*" and what architectures take for granted of them.
#pragma once

#include "base/status.h"
#include "model/config.h"
#include "model/gguf/architecture_keys.h"

namespace npumoe {

// Sets config.moe, config.is_moe_layer and config.dense_intermediate_size.
Status ReadGgufMoe(const ArchitectureKeys& keys, ModelConfig& config);
void AddGgufMoe(const ModelConfig& config, ArchitectureKeyWriter& writer);

}  // namespace npumoe
