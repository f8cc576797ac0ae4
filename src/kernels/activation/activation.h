// Elementwise pieces and softmax, fp32.
#pragma once

#include <span>

namespace npumoe {

// inout[i] = silu(inout[i]) * up[i],  silu(x) = x / (1 + exp(-x)); returns the largest magnitude.
float SwiGlu(std::span<const float> up, std::span<float> gate_inout);
void SwiGluReference(std::span<const float> up, std::span<float> gate_inout);
// values = exp(values - max) / sum
void Softmax(std::span<float> values);
void SoftmaxReference(std::span<float> values);
// max |values[i]|, 0 for none. NaNs are passed over.
float MaxMagnitude(std::span<const float> values);
// inout += other
void AddTo(std::span<const float> other, std::span<float> inout);

}  // namespace npumoe
