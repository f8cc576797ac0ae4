#include "kernels/activation/activation.h"

#include <algorithm>
#include <cmath>

namespace npumoe {

void SwiGlu(std::span<const float> up, std::span<float> gate_inout) {
  SwiGluReference(up, gate_inout);
}

void Softmax(std::span<float> values) { SoftmaxReference(values); }

float MaxMagnitude(std::span<const float> values) {
  float max = 0;
  for (float v : values) max = std::max(max, std::fabs(v));
  return max;
}

void AddTo(std::span<const float> other, std::span<float> inout) {
  for (size_t i = 0; i < inout.size(); ++i) inout[i] += other[i];
}

}  // namespace npumoe
