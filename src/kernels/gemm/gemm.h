// Products of fp32 activations with weights in the file's own type: F32, F16, BF16, or quantised
// blocks (base/dtype.h), which are decoded to fp32 in registers or a panel that fits the cache,
// never as a whole; K is then a whole number of blocks.
//   out[m, n] = sum_k in[m, k] * weight[n, k] (+ bias[n])        weight row-major [out, in]
// Accumulation in fp32. Weights are read where they lie (mapped file): nothing is repacked, and no
// byte beyond them is touched. On one instruction set a row's result has the same bits whatever
// the other rows, their number (one included) and the number of threads.
#pragma once

#include <span>

#include "base/tensor_view.h"
#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

// in [M, K], weight [N, K], out [M, N]; `bias` [N] or empty. Any M >= 0: one row is a
// matrix-vector product bound by reading the weights, many rows a blocked product.
void MatMul(ConstMatrix in, const TensorView& weight, std::span<const float> bias, Matrix out,
            ThreadPool& pool);

// The same on the calling thread alone, for use inside a ParallelFor body.
void MatMulOnThisThread(ConstMatrix in, const TensorView& weight, std::span<const float> bias,
                        Matrix out);

// Plain loops, double accumulation: the reference.
void MatMulReference(ConstMatrix in, const TensorView& weight, std::span<const float> bias,
                     Matrix out);

}  // namespace npumoe
