// What a conversion did, by kinds of weights (tensor_kinds.h) and types: a model with 18,000
// experts has one row for all that happened to them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "convert/types.h"

namespace npumoe {

// Weights that did not get the wanted type.
struct TypeFallback {
  std::string weights;  // "experts down"
  DType wanted = DType::kF32;
  DType used = DType::kF32;
  std::string reason;
  int64_t tensors = 0;
};

// Weights whose numbers were rounded.
struct LossyChange {
  DType from = DType::kF32;
  DType to = DType::kF32;
  int64_t tensors = 0;
};

struct ConvertReport {
  std::string path;                     // of the file or folder that was written
  uint64_t bytes = 0;                   // of the file with the tensors
  size_t tensors = 0;                   // in that file
  std::vector<TypeFallback> fallbacks;  // in the order in which they came up
  std::vector<LossyChange> lossy;
  std::vector<std::string> notes;  // what the other form cannot say, one sentence each

  // One more tensor that is `tensor` and gets `choice`.
  void Count(const TypePolicy& policy, const TypedTensor& tensor, const TypeChoice& choice);
};

}  // namespace npumoe
