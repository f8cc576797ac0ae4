#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/activation/activation.h"

namespace npumoe {

void SwiGluReference(std::span<const float> up, std::span<float> gate_inout) {
  NPUMOE_CHECK(up.size() == gate_inout.size());
  for (size_t i = 0; i < up.size(); ++i) {
    const double x = gate_inout[i];
    gate_inout[i] = static_cast<float>(x / (1.0 + std::exp(-x)) * double{up[i]});
  }
}

void ClampedSwiGluReference(std::span<const float> up, float limit, std::span<float> gate_inout) {
  NPUMOE_CHECK(up.size() == gate_inout.size());
  for (size_t i = 0; i < up.size(); ++i) {
    const double g = std::min(gate_inout[i], limit);
    const double u = std::clamp(up[i], -limit, limit);
    gate_inout[i] = static_cast<float>((u + 1) * g / (1 + std::exp(-double{kClampedSlope} * g)));
  }
}

void SoftmaxReference(std::span<float> values) {
  if (values.empty()) return;
  const double max = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (float v : values) sum += std::exp(double{v} - max);
  for (float& v : values) v = static_cast<float>(std::exp(double{v} - max) / sum);
}

}  // namespace npumoe
