// DeepSeek-V2: latent attention, interleaved rotary pairs, shared experts, dense first layers,
// greedy or group-limited routing. Dimensions and meaning follow the `deepseek_v2` model type of
// Hugging Face transformers.
#pragma once

#include "model/families/family.h"

namespace npumoe {

extern const ModelFamily kDeepseekV2;

}  // namespace npumoe
