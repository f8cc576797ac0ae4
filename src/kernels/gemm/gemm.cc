#include "kernels/gemm/gemm.h"

namespace npumoe {

void MatMul(ConstMatrix in, const TensorView& weight, std::span<const float> bias, Matrix out,
            ThreadPool& pool) {
  pool.ParallelRanges(in.rows, 1, [&](int64_t begin, int64_t end, int) {
    MatMulReference({in.Row(begin), end - begin, in.columns, in.stride}, weight, bias,
                    {out.Row(begin), end - begin, out.columns, out.stride});
  });
}

void MatMulOnThisThread(ConstMatrix in, const TensorView& weight, std::span<const float> bias,
                        Matrix out) {
  MatMulReference(in, weight, bias, out);
}

}  // namespace npumoe
