// Elementwise pieces and softmax, fp32. What is NaN stays NaN, so that nobody takes the results of
// broken weights for an answer.
#pragma once

#include <span>

namespace npumoe {

// Of the sigmoid in the clamped form: gpt-oss's alpha.
inline constexpr float kClampedSlope = 1.702f;

// inout[i] = silu(inout[i]) * up[i],  silu(x) = x / (1 + exp(-x)); returns the largest magnitude.
float SwiGlu(std::span<const float> up, std::span<float> gate_inout);
void SwiGluReference(std::span<const float> up, std::span<float> gate_inout);
// gpt-oss: g = min(gate, limit), u = clamp(up, -limit, limit);
//   gate_inout = (u + 1) * g / (1 + exp(-1.702 g)); returns the largest magnitude.
float ClampedSwiGlu(std::span<const float> up, float limit, std::span<float> gate_inout);
void ClampedSwiGluReference(std::span<const float> up, float limit, std::span<float> gate_inout);
// inout = clamp(inout, -limit, limit)
void Clamp(float limit, std::span<float> inout);
// inout += factor * other
void AddScaled(float factor, std::span<const float> other, std::span<float> inout);
// inout *= factor
void Scale(float factor, std::span<float> inout);
// values = exp(values - max) / sum
void Softmax(std::span<float> values);
void SoftmaxReference(std::span<float> values);
// max |values[i]|, 0 for none. NaNs are passed over.
float MaxMagnitude(std::span<const float> values);
// Whether no value is NaN or infinite.
bool AllFinite(std::span<const float> values);
// inout += other
void AddTo(std::span<const float> other, std::span<float> inout);

}  // namespace npumoe
