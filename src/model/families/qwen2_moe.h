// Qwen2-MoE: biases on q, k and v, a shared expert behind a sigmoid gate. Dimensions and meaning
// follow the `qwen2_moe` model type of Hugging Face transformers.
#pragma once

#include "model/families/family.h"

namespace npumoe {

extern const ModelFamily kQwen2Moe;

}  // namespace npumoe
