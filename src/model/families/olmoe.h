// OLMoE: RMS norm over the whole row of queries and of keys, values clamped on request, plain
// softmax routing. Dimensions and meaning follow the `olmoe` model type of Hugging Face
// transformers.
#pragma once

#include "model/families/family.h"

namespace npumoe {

extern const ModelFamily kOlmoe;

}  // namespace npumoe
