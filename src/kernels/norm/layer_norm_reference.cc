#include <cmath>

#include "base/check.h"
#include "kernels/convert/element.h"
#include "kernels/norm/layer_norm.h"

namespace npumoe {

void LayerNormReference(ConstMatrix in, const TensorView& weight, const TensorView& bias, float eps,
                        Matrix out) {
  const int64_t columns = in.columns;
  NPUMOE_CHECK(weight.shape.elements() == columns && bias.shape.elements() == columns);
  NPUMOE_CHECK(in.rows == out.rows && out.columns == columns);
  for (int64_t r = 0; r < in.rows; ++r) {
    double mean = 0;
    for (int64_t i = 0; i < columns; ++i) mean += double{in.Row(r)[i]};
    mean /= static_cast<double>(columns);
    double variance = 0;
    for (int64_t i = 0; i < columns; ++i) {
      variance += (double{in.Row(r)[i]} - mean) * (double{in.Row(r)[i]} - mean);
    }
    const double scale = 1.0 / std::sqrt(variance / static_cast<double>(columns) + double{eps});
    for (int64_t i = 0; i < columns; ++i) {
      out.Row(r)[i] = static_cast<float>((double{in.Row(r)[i]} - mean) * scale *
                                             double{ElementAsF32(weight, i)} +
                                         double{ElementAsF32(bias, i)});
    }
  }
}

}  // namespace npumoe
