// Phi-MoE (Phi-3.5-MoE, Phi-tiny-MoE): layer norms with bias, biases on all projections and on the
// head, SparseMixer routing to two experts, LongRoPE. Dimensions and meaning follow the `phimoe`
// model type of Hugging Face transformers.
#pragma once

#include "model/families/family.h"

namespace npumoe {

extern const ModelFamily kPhiMoe;

}  // namespace npumoe
