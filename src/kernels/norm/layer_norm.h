// out = (in - mean) / sqrt(variance + eps) * weight + bias, row by row; the variance is the mean of
// the squared differences. In place allowed (out.data == in.data).
#pragma once

#include "base/tensor_view.h"
#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

// weight, bias [columns], F32, F16 or BF16.
void LayerNorm(ConstMatrix in, const TensorView& weight, const TensorView& bias, float eps,
               Matrix out, ThreadPool& pool);
void LayerNormReference(ConstMatrix in, const TensorView& weight, const TensorView& bias, float eps,
                        Matrix out);

}  // namespace npumoe
