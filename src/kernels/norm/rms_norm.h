// out = in / sqrt(mean(in^2) + eps) * weight, row by row. In place allowed (out.data == in.data).
#pragma once

#include "base/tensor_view.h"
#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

// weight [columns], F32, F16 or BF16.
void RmsNorm(ConstMatrix in, const TensorView& weight, float eps, Matrix out, ThreadPool& pool);
// The same over every head of a row: columns = heads * head_dim, weight [head_dim].
void RmsNormPerHead(ConstMatrix in, const TensorView& weight, float eps, Matrix out,
                    ThreadPool& pool);
void RmsNormReference(ConstMatrix in, const TensorView& weight, float eps, Matrix out);

}  // namespace npumoe
