#include "runtime/spot_check.h"

#include <algorithm>
#include <random>
#include <vector>

#include "kernels/expert/expert.h"
#include "runtime/row_error.h"

namespace npumoe {
namespace {

struct DrawnRow {
  size_t slot = 0;
  int64_t row = 0;
};

DrawnRow RowAt(const ExpertLaunch& launch, int64_t index) {
  DrawnRow drawn{0, index};
  while (drawn.row >= static_cast<int64_t>(launch.slots[drawn.slot].size())) {
    drawn.row -= static_cast<int64_t>(launch.slots[drawn.slot++].size());
  }
  return drawn;
}

std::vector<float> ComputeOnCpu(const SpotCheckInputs& inputs, const ExpertLaunch& launch,
                                const DrawnRow& drawn) {
  const LayerContext& context = inputs.context;
  const int layer = launch.function->layer();
  const auto expert = static_cast<size_t>(launch.function->planned().experts[drawn.slot].expert);
  const int32_t assignment = launch.slots[drawn.slot][static_cast<size_t>(drawn.row)];
  const int64_t columns = inputs.ffn_input.columns;
  std::vector<float> expected(static_cast<size_t>(columns));
  ExpertTask task;
  task.weights = WeightsForKernel(
      context.config, context.model.weights.layers[static_cast<size_t>(layer)].experts[expert],
      context.vectors.Layer(layer).experts[expert]);
  task.in = {inputs.ffn_input.Row(assignment / inputs.choices_per_token), 1, columns, columns};
  task.out = {expected.data(), 1, columns, columns};
  RunExperts({&task, 1}, context.pool);
  return expected;
}

}  // namespace

// fp16: inputs, weights, gate, up, activation and output are rounded by up to 2^-11, and a row
// whose large terms cancel shows more of it than the worst row of an expert (verify.h: 2e-3): five
// times that. The other formats round every weight of three matrices, and the CPU computes with the
// model's: there the rows' root mean squares are compared, because the largest difference of a row
// has a long tail. MEASURED_LINE
bool IsRounding(WeightFormat format, const RowsChecked& error) {
  switch (format) {
    case WeightFormat::kF16:
      return error.relative <= 1e-2;
    case WeightFormat::kInt8:
    case WeightFormat::kInt8Block32:
      return error.root_mean_square <= 0.05;
    case WeightFormat::kLut6:
      return error.root_mean_square <= 0.25;
    case WeightFormat::kInt4Block32:
    case WeightFormat::kLut4:
      return error.root_mean_square <= 0.6;
  }
  return false;
}

RowsChecked SpotCheck(const SpotCheckInputs& inputs, const ExpertLaunch& launch, int rows,
                      uint64_t seed) {
  const int64_t filled = launch.FilledRows();
  if (filled == 0) return {};
  std::mt19937_64 random(seed);
  RowsChecked worst;
  for (int i = 0; i < rows; ++i) {
    const DrawnRow drawn =
        RowAt(launch, static_cast<int64_t>(random() % static_cast<uint64_t>(filled)));
    const OutputRow row =
        launch.function->OutputOf(static_cast<int>(drawn.slot), drawn.row, launch.launch.outputs);
    RowError of_row;
    of_row.Add(row, ComputeOnCpu(inputs, launch, drawn));
    worst.relative = std::max(worst.relative, of_row.Relative());
    worst.root_mean_square = std::max(worst.root_mean_square, of_row.RootMeanSquare());
  }
  return worst;
}

}  // namespace npumoe
