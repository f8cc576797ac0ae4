// gpt-oss: attention sinks, a sliding window in every other layer, biased experts with clamped
// SwiGLU, fused tensors that are transposed or MXFP4. Dimensions and meaning follow the `gpt_oss`
// model type of Hugging Face transformers.
#pragma once

#include "model/families/family.h"

namespace npumoe {

extern const ModelFamily kGptOss;

}  // namespace npumoe
