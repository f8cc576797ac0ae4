#include "base/check.h"
#include "kernels/convert/element.h"
#include "kernels/gemm/gemm.h"

namespace npumoe {

void MatMulReference(ConstMatrix in, const TensorView& weight, std::span<const float> bias,
                     Matrix out) {
  NPUMOE_CHECK(in.rows == out.rows && out.columns == weight.shape[0]);
  NPUMOE_CHECK(in.columns == weight.shape[1]);
  for (int64_t m = 0; m < out.rows; ++m) {
    for (int64_t n = 0; n < out.columns; ++n) {
      double sum = bias.empty() ? 0.0 : double{bias[static_cast<size_t>(n)]};
      for (int64_t k = 0; k < in.columns; ++k) {
        sum += double{in.Row(m)[k]} * double{ElementAsF32(weight, n * in.columns + k)};
      }
      out.Row(m)[n] = static_cast<float>(sum);
    }
  }
}

}  // namespace npumoe
