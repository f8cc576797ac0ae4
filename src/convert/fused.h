// Experts in the layouts in which published folders keep them together (model/families/family.h).
#pragma once

#include <functional>
#include <vector>

#include "base/status.h"
#include "base/tensor_view.h"
#include "model/families/family.h"
#include "model/output_tensor.h"

namespace npumoe {

// One expert's tensor of a role, in the type that it shall have; `bytes` holds it.
struct ExpertPart {
  Shape shape;
  std::vector<std::byte> bytes;
};
using FetchExpert = std::function<Result<ExpertPart>(TensorRole role, int layer, int expert)>;

// The tensor, or the two of MXFP4, that hold `fused` in one layer. `shape`: of one expert's part of
// the first role; `dtype`: of the parts.
std::vector<OutputTensor> FusedOutputs(const FusedTensor& fused, int layer, int experts,
                                       const Shape& shape, DType dtype, const FetchExpert& fetch);

}  // namespace npumoe
