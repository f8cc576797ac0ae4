// Tensors from one element type to another, in pieces that go to a file.
#pragma once

#include <string>

#include "base/status.h"
#include "base/tensor_view.h"
#include "model/output_tensor.h"

namespace npumoe {

// All elements of `view` as `dtype`, in the same order, to `sink`; bit for bit where the type
// stays. `name` starts messages. Fails for a number that is not finite where blocks are made, and
// for one that F16 cannot hold.
Status ConvertElements(const TensorView& view, DType dtype, const std::string& name,
                       const ByteSink& sink);

}  // namespace npumoe
