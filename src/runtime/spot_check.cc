#include "runtime/spot_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/dtype.h"
#include "kernels/expert/expert.h"

namespace npumoe {
namespace {

struct DrawnRow {
  size_t slot = 0;
  int64_t row = 0;
};

DrawnRow RowAt(const Launch& launch, int64_t index) {
  DrawnRow drawn{0, index};
  while (drawn.row >= static_cast<int64_t>(launch.slots[drawn.slot].size())) {
    drawn.row -= static_cast<int64_t>(launch.slots[drawn.slot++].size());
  }
  return drawn;
}

std::vector<float> ComputeOnCpu(const SpotCheckInputs& inputs, const Launch& launch,
                                const DrawnRow& drawn) {
  const LayerContext& context = inputs.context;
  const int layer = launch.program->layer();
  const auto expert = static_cast<size_t>(launch.program->planned().experts[drawn.slot].expert);
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

double RowError(const OutputRow& row, const std::vector<float>& expected) {
  const auto* values = static_cast<const uint16_t*>(row.data);
  double largest = 0;
  double error = 0;
  for (size_t c = 0; c < expected.size(); ++c) {
    const double wanted = expected[c];
    const double difference =
        std::abs(F32FromF16(values[static_cast<int64_t>(c) * row.stride]) - wanted);
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    error = std::max(error, difference);
    largest = std::max(largest, std::abs(wanted));
  }
  return largest == 0 ? error : error / largest;
}

}  // namespace

// Of fp16: inputs, weights, gate, up, activation and output are rounded by up to 2^-11, and a row
// whose large terms cancel shows more of it than the worst row of an expert (verify.h: 2e-3); five
// times that. The others round every weight of three matrices: by 1/254 of the row's largest
// (int8), 1/16 of a block's (int4), or by the distance to one of 64 or 16 means; the sums of such
// errors relative to the largest output were measured as at most a quarter of these limits.
double SpotCheckLimit(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF16:
      return 1e-2;
    case WeightFormat::kInt8:
    case WeightFormat::kInt8Block32:
      return 1e-1;
    case WeightFormat::kLut6:
      return 3e-1;
    case WeightFormat::kInt4Block32:
    case WeightFormat::kLut4:
      return 7e-1;
  }
  return 0;
}

double SpotCheck(const SpotCheckInputs& inputs, const Launch& launch, int rows, uint64_t seed) {
  const int64_t filled = launch.FilledRows();
  if (filled == 0) return 0;
  std::mt19937_64 random(seed);
  double error = 0;
  for (int i = 0; i < rows; ++i) {
    const DrawnRow drawn =
        RowAt(launch, static_cast<int64_t>(random() % static_cast<uint64_t>(filled)));
    const OutputRow row =
        launch.program->OutputOf(static_cast<int>(drawn.slot), drawn.row, launch.outputs);
    error = std::max(error, RowError(row, ComputeOnCpu(inputs, launch, drawn)));
  }
  return error;
}

}  // namespace npumoe
