#include <cmath>

#include "base/check.h"
#include "kernels/rope/rope.h"

namespace npumoe {

void RopeReference(Matrix heads, int head_dim, std::span<const float> inverse_frequencies,
                   int64_t position) {
  const int half = head_dim / 2;
  NPUMOE_CHECK(head_dim > 0 && head_dim % 2 == 0 && heads.columns % head_dim == 0);
  NPUMOE_CHECK(inverse_frequencies.size() == static_cast<size_t>(half));
  for (int64_t r = 0; r < heads.rows; ++r) {
    for (int64_t begin = 0; begin < heads.columns; begin += head_dim) {
      float* x = heads.Row(r) + begin;
      for (int i = 0; i < half; ++i) {
        // The angle is an fp32 product, as in the Hugging Face implementation.
        const float angle =
            static_cast<float>(position + r) * inverse_frequencies[static_cast<size_t>(i)];
        const auto cosine = static_cast<float>(std::cos(double{angle}));
        const auto sine = static_cast<float>(std::sin(double{angle}));
        const float low = x[i];
        const float high = x[i + half];
        x[i] = low * cosine - high * sine;
        x[i + half] = high * cosine + low * sine;
      }
    }
  }
}

}  // namespace npumoe
