// Qwen3-MoE: pre-norm layers, grouped-query attention with RMS norm on every query and key head,
// SwiGLU experts without shared ones, some layers dense on request. Dimensions and meaning follow
// the `qwen3_moe` model type of Hugging Face transformers.
#pragma once

#include "model/families/family.h"

namespace npumoe {

extern const ModelFamily kQwen3Moe;

}  // namespace npumoe
