// SwiGLU feed-forward networks, one or many at once:
//   y_e = down_e( silu(gate_e x_e) * up_e x_e )
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
};

struct ExpertTask {
  SwiGluWeights weights;
  ConstMatrix in;  // [rows, H]: the expert's gathered tokens
  Matrix out;      // [rows, H]
  // Largest magnitudes, written when not null (calibration).
  float* inner_max = nullptr;   // of silu(gate x) * up x
  float* output_max = nullptr;  // of y
};

void RunExperts(std::span<const ExpertTask> tasks, ThreadPool& pool);
void RunExpertReference(const ExpertTask& task);

}  // namespace npumoe
