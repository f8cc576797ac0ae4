// SwiGLU feed-forward networks, one or many at once:
//   y_e = down_e( act(gate_e x_e + gate_bias_e, up_e x_e + up_bias_e) ) + down_bias_e
// act is silu(gate) * up, or gpt-oss's clamped form (activation.h). Weights F32, F16, BF16 or
// quantised; experts of one call may differ in their intermediate size.
// Several experts share the pool, so that small ones fill all threads; the weights of an expert
// are read once per call.
#pragma once

#include <span>

#include "base/tensor_view.h"
#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

struct SwiGluWeights {
  TensorView gate;  // [I, H]
  TensorView up;    // [I, H]
  TensorView down;  // [H, I]
  // Empty without bias.
  std::span<const float> gate_bias = {};  // [I]
  std::span<const float> up_bias = {};    // [I]
  std::span<const float> down_bias = {};  // [H]
  // 0: silu(gate) * up; else the clamped form with this limit.
  float clamp_limit = 0;
};

struct ExpertTask {
  SwiGluWeights weights;
  ConstMatrix in;  // [rows, H]: the expert's gathered tokens
  Matrix out;      // [rows, H]
  // Largest magnitudes, written when not null (calibration).
  float* inner_max = nullptr;   // of the activation
  float* output_max = nullptr;  // of y
};

void RunExperts(std::span<const ExpertTask> tasks, ThreadPool& pool);
void RunExpertReference(const ExpertTask& task);

}  // namespace npumoe
