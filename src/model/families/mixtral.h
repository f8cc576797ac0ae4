// Mixtral: grouped-query attention, in a sliding window where the config sets one, two of few large
// experts. Dimensions and meaning follow the `mixtral` model type of Hugging Face transformers.
#pragma once

#include "model/families/family.h"

namespace npumoe {

extern const ModelFamily kMixtral;

}  // namespace npumoe
