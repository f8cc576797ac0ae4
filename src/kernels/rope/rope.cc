#include "kernels/rope/rope.h"

#include <cmath>

#include "base/check.h"

namespace npumoe {

std::vector<float> RopeInverseFrequencies(int head_dim, double theta) {
  NPUMOE_CHECK(head_dim > 0 && head_dim % 2 == 0);
  std::vector<float> frequencies(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    // Hugging Face: 1.0 / (base ** (arange(0, d, 2) / d)), every step in fp32.
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const auto power = static_cast<float>(std::pow(theta, double{exponent}));
    frequencies[i] = 1.0f / power;
  }
  return frequencies;
}

void Rope(Matrix heads, int head_dim, std::span<const float> inverse_frequencies, int64_t position,
          ThreadPool&) {
  RopeReference(heads, head_dim, inverse_frequencies, position);
}

}  // namespace npumoe
