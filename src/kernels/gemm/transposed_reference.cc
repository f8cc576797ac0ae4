#include <vector>

#include "base/check.h"
#include "kernels/convert/element.h"
#include "kernels/gemm/transposed.h"
#include "kernels/quantize/quantize.h"

namespace npumoe {
namespace {

std::vector<float> AllAsF32(const TensorView& weight) {
  std::vector<float> values(static_cast<size_t>(weight.shape.elements()));
  if (IsQuantized(weight.dtype)) {
    DecodeBlocksReference(weight.dtype, {weight.data, weight.bytes()}, values);
    return values;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = ElementAsF32(weight, static_cast<int64_t>(i));
  }
  return values;
}

}  // namespace

void MatMulTransposedReference(ConstMatrix in, const TensorView& weight, Matrix out) {
  NPUMOE_CHECK(in.rows == out.rows && out.columns == weight.shape[1]);
  NPUMOE_CHECK(in.columns == weight.shape[0]);
  const std::vector<float> values = AllAsF32(weight);
  for (int64_t m = 0; m < out.rows; ++m) {
    for (int64_t k = 0; k < out.columns; ++k) {
      double sum = 0;
      for (int64_t n = 0; n < in.columns; ++n) {
        sum += double{in.Row(m)[n]} * double{values[static_cast<size_t>(n * out.columns + k)]};
      }
      out.Row(m)[k] = static_cast<float>(sum);
    }
  }
}

}  // namespace npumoe
