#include <cmath>

#include "base/check.h"
#include "kernels/convert/element.h"
#include "kernels/norm/rms_norm.h"

namespace npumoe {

void RmsNormReference(ConstMatrix in, const TensorView& weight, float eps, Matrix out) {
  const int64_t columns = in.columns;
  NPUMOE_CHECK(weight.shape.elements() == columns && out.columns == columns);
  for (int64_t r = 0; r < in.rows; ++r) {
    double squares = 0;
    for (int64_t i = 0; i < columns; ++i) squares += double{in.Row(r)[i]} * double{in.Row(r)[i]};
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(columns) + double{eps});
    for (int64_t i = 0; i < columns; ++i) {
      out.Row(r)[i] =
          static_cast<float>(double{in.Row(r)[i]} * scale * double{ElementAsF32(weight, i)});
    }
  }
}

}  // namespace npumoe
