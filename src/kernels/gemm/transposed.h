// Products with the transpose of a weight, read in the file's own type row by row: F32, F16, BF16
// or quantised blocks.
//   out[m, k] = sum_n in[m, n] * weight[n, k]        weight row-major [N, K]
// For one or few rows of activations and slices of weights, as latent attention absorbs a head's
// key projection into its query. Accumulation in fp32, over n in order: on one instruction set a
// row's result has the same bits whatever the other rows and the number of threads.
#pragma once

#include "base/tensor_view.h"
#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

// in [M, N], weight [N, K], out [M, K]; K is a whole number of blocks. Columns share the threads.
void MatMulTransposed(ConstMatrix in, const TensorView& weight, Matrix out, ThreadPool& pool);

// The same on the calling thread alone, for use inside a ParallelFor body (one head each).
void MatMulTransposedOnThisThread(ConstMatrix in, const TensorView& weight, Matrix out);

// Plain loops, double accumulation.
void MatMulTransposedReference(ConstMatrix in, const TensorView& weight, Matrix out);

}  // namespace npumoe
