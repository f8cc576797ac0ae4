#include <vector>

#include "base/check.h"
#include "kernels/convert/element.h"
#include "kernels/gemm/gemm.h"
#include "kernels/quantize/quantize.h"

namespace npumoe {
namespace {

std::vector<float> RowOf(const TensorView& weight, int64_t n, int64_t columns) {
  std::vector<float> row(static_cast<size_t>(columns));
  if (IsQuantized(weight.dtype)) {
    const size_t bytes = BytesOf(weight.dtype, columns);
    DecodeBlocksReference(weight.dtype, {weight.data + static_cast<size_t>(n) * bytes, bytes}, row);
    return row;
  }
  for (int64_t k = 0; k < columns; ++k) {
    row[static_cast<size_t>(k)] = ElementAsF32(weight, n * columns + k);
  }
  return row;
}

}  // namespace

void MatMulReference(ConstMatrix in, const TensorView& weight, std::span<const float> bias,
                     Matrix out) {
  NPUMOE_CHECK(in.rows == out.rows && out.columns == weight.shape[0]);
  NPUMOE_CHECK(in.columns == weight.shape[1]);
  for (int64_t n = 0; n < out.columns; ++n) {
    const std::vector<float> row = RowOf(weight, n, in.columns);
    for (int64_t m = 0; m < out.rows; ++m) {
      double sum = bias.empty() ? 0.0 : double{bias[static_cast<size_t>(n)]};
      for (int64_t k = 0; k < in.columns; ++k) {
        sum += double{in.Row(m)[k]} * double{row[static_cast<size_t>(k)]};
      }
      out.Row(m)[n] = static_cast<float>(sum);
    }
  }
}

}  // namespace npumoe
