// Granite-MoE: multipliers on embedding, attention, residual and logits; the experts of a layer
// stand in two tensors. Dimensions and meaning follow the `granitemoe` model type of Hugging Face
// transformers.
#pragma once

#include "model/families/family.h"

namespace npumoe {

extern const ModelFamily kGraniteMoe;

}  // namespace npumoe
