// A model's weights as the weights of a program: what makes their bytes when the package writer
// asks (WeightData::produce), so that nobody holds them.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "base/tensor_view.h"
#include "graph/weight_format.h"
#include "graph/weights/matrix_encoder.h"

namespace npumoe {

// fp16 of a vector of `shape`, in which the file may have it in any type. `what` names it in
// messages, and among the weights of one package. Another shape is an error.
Result<WeightData> LowerVector(const TensorView& weights, const Shape& shape, std::string what);

// A matrix of `shape` in `format`; Q8_0 and Q4_0 keep their integers and scales in the format of
// the same blocks. Where it is rounded, its encoder is added to `encoders`, which knows the error
// once the matrix has been written.
using Encoders = std::vector<MatrixEncoder>;
Result<WeightMatrix> LowerMatrix(WeightFormat format, const TensorView& weights, const Shape& shape,
                                 const std::string& what, Encoders* encoders = nullptr);

}  // namespace npumoe
