#include "kernels/norm/rms_norm.h"

namespace npumoe {

void RmsNorm(ConstMatrix in, const TensorView& weight, float eps, Matrix out, ThreadPool&) {
  RmsNormReference(in, weight, eps, out);
}

void RmsNormPerHead(ConstMatrix in, const TensorView& weight, float eps, Matrix out, ThreadPool&) {
  const int64_t d = weight.shape.elements();
  for (int64_t r = 0; r < in.rows; ++r) {
    RmsNormReference({in.Row(r), in.columns / d, d, d}, weight, eps,
                     {out.Row(r), in.columns / d, d, d});
  }
}

}  // namespace npumoe
