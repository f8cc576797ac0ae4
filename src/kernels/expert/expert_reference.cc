#include <algorithm>
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/expert/expert.h"
#include "kernels/gemm/gemm.h"

namespace npumoe {

void RunExpertReference(const ExpertTask& task) {
  const SwiGluWeights& w = task.weights;
  const int64_t rows = task.in.rows;
  const int64_t inner = w.gate.shape[0];
  std::vector<float> gate(static_cast<size_t>(rows * inner));
  std::vector<float> up(gate.size());
  const Matrix gate_rows{gate.data(), rows, inner, inner};
  MatMulReference(task.in, w.gate, w.gate_bias, gate_rows);
  MatMulReference(task.in, w.up, w.up_bias, {up.data(), rows, inner, inner});
  if (w.clamp_limit == 0) {
    SwiGluReference(up, gate);
  } else {
    ClampedSwiGluReference(up, w.clamp_limit, gate);
  }
  MatMulReference(gate_rows, w.down, w.down_bias, task.out);
  if (task.inner_max != nullptr) *task.inner_max = MaxMagnitude(gate);
  if (task.output_max == nullptr) return;
  *task.output_max = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const std::span row(task.out.Row(r), static_cast<size_t>(task.out.columns));
    *task.output_max = std::max(*task.output_max, MaxMagnitude(row));
  }
}

}  // namespace npumoe
