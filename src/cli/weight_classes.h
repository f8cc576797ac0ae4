// The weights of a model by what they are for: how many, in which types, how many bytes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/tensor_view.h"
#include "model/model.h"

namespace npumoe::cli {

struct TypeCount {
  int64_t tensors = 0;
  int64_t elements = 0;
  int64_t bytes = 0;
};

struct WeightClass {
  std::string name;  // "embedding", "attention", "experts", ...
  std::map<DType, TypeCount> types;
};

// In a fixed order, without classes that the model lacks; a tied head counts as embedding only.
std::vector<WeightClass> WeightClasses(const ModelWeights& weights);
int64_t TotalBytes(const std::vector<WeightClass>& classes);
// "Q8_0", or "Q4_K 90%, Q4_0 10%" by bytes.
std::string DescribeTypes(const WeightClass& weights);

// Whether `npumoe convert` wrote down which type was asked for, or it is guessed from the weights.
enum class Asked { kWritten, kGuessed };

// Kinds of matrices that are not of the wanted type and why, by the rules of convert/types.h:
// "experts down: F16 instead of Q4_K: its rows of 40 are no whole number of Q4_K blocks". Where the
// type is guessed only those that the blocks do not divide: what others mix is their choice. Empty
// where `wanted` is no quantised type.
std::vector<std::string> FallbackKinds(const ModelWeights& weights, DType wanted, Asked asked);

}  // namespace npumoe::cli
