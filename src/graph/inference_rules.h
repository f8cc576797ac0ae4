// The inference functions behind the table of shape_inference.cc, by family of operations.
#pragma once

#include <vector>

#include "base/status.h"
#include "graph/arguments.h"
#include "graph/shape_inference.h"

namespace npumoe {

using Inferred = Result<std::vector<TensorType>>;

// inference_products.cc
Inferred InferConv(const Arguments& arguments);
Inferred InferLinear(const Arguments& arguments);
Inferred InferMatMul(const Arguments& arguments);

// inference_elementwise.cc
Inferred InferBinary(const Arguments& arguments);
Inferred InferUnary(const Arguments& arguments);
Inferred InferRsqrt(const Arguments& arguments);
Inferred InferClip(const Arguments& arguments);
Inferred InferSoftmax(const Arguments& arguments);
Inferred InferReduce(const Arguments& arguments);
Inferred InferLayerNorm(const Arguments& arguments);
Inferred InferCast(const Arguments& arguments);

// inference_layout.cc
Inferred InferReshape(const Arguments& arguments);
Inferred InferTranspose(const Arguments& arguments);
Inferred InferSliceByIndex(const Arguments& arguments);
Inferred InferConcat(const Arguments& arguments);
Inferred InferSplit(const Arguments& arguments);
Inferred InferExpandDims(const Arguments& arguments);
Inferred InferSqueeze(const Arguments& arguments);

// inference_constexpr.cc
Inferred InferBlockwiseShiftScale(const Arguments& arguments);
Inferred InferLutToDense(const Arguments& arguments);

// `axis` in [-rank, rank) as [0, rank).
Result<int> NormalizedAxis(const Arguments& arguments, int64_t axis, int rank);
// The same for a list without repetition.
Result<std::vector<int>> NormalizedAxes(const Arguments& arguments,
                                        const std::vector<int64_t>& axes, int rank);
// NumPy broadcast; `what` names the two in the message.
Result<std::vector<int64_t>> BroadcastAxes(const Arguments& arguments, std::span<const int64_t> a,
                                           std::span<const int64_t> b);
// One result, its shape checked.
Inferred OneOutput(const Arguments& arguments, DType dtype, const std::vector<int64_t>& axes);
Status RequireSameType(const Arguments& arguments, std::string_view a, std::string_view b);
Status RequireFloat(const Arguments& arguments, std::string_view parameter);

}  // namespace npumoe
