// One block of a product on one thread: packed activation rows times a range of weight rows.
// This is what gemm.cc and expert.cc cut their work into; they own threads and scratch, the
// micro-kernel (micro_kernel-inl.h) owns registers, this file owns blocking for the caches.
//
// Every result out[m, n] is the same sequence of operations whatever the other rows, the range of
// weight rows or the thread: blocks of kColumnsPerBlock along k in order, inside one block one
// vector accumulator, summed by one fixed tree. So results are bit-identical for any number of
// rows, any cut of the work and any number of threads on one instruction set. Quantised weights
// give the results of their fp32 values, decoded a block at a time or, for one row, in registers.
#pragma once

#include <cstdint>
#include <span>

#include "base/checked_math.h"
#include "base/tensor_view.h"
#include "kernels/matrix.h"

namespace npumoe {

// Packed rows are padded with zeros to this many floats: twice the lanes of the widest vector.
inline constexpr int64_t kPackQuantum = 32;

inline int64_t PackedStride(int64_t columns) { return RoundUp(columns, kPackQuantum); }

// Activation rows in the order in which the micro-kernel meets the weights: natural for F32, F16
// and quantised types; for BF16 each run of two vectors holds its even columns, then its odd ones,
// because two bfloat16 in one 32-bit lane convert with a shift and a mask.
struct PackedRows {
  const float* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;  // without the padding
  int64_t stride = 0;   // >= PackedStride(columns)

  PackedRows Rows(int64_t begin, int64_t end) const {
    return {data + begin * stride, end - begin, columns, stride};
  }
};

// packed [in.rows, packed_stride]; writes PackedStride(in.columns) floats of each row.
void PackRows(ConstMatrix in, DType weight_dtype, float* packed, int64_t packed_stride);

struct BlockProduct {
  PackedRows in;                // [M, K]
  TensorView weight;            // [N, K], F32, F16, BF16 or quantised
  const float* bias = nullptr;  // [N] or null
  int64_t begin = 0;            // weight rows [begin, end)
  int64_t end = 0;
  Matrix out;  // [M, end - begin]
};
void MultiplyBlock(const BlockProduct& product);

}  // namespace npumoe
