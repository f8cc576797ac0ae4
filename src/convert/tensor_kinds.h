// What reports call a model's weights: all tensors of a role together, whatever layer and expert.
#pragma once

#include <string>
#include <string_view>

#include "model/tensor_roles.h"

namespace npumoe {

// "embedding", "attention", "experts", "norms and biases", ...
std::string_view ClassOf(TensorRole role);
// "embedding", "attention q", "experts down", ...; of norms and biases the class alone.
std::string KindOf(TensorRole role);

}  // namespace npumoe
