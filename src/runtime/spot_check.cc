#include "runtime/spot_check.h"

#include <algorithm>
#include <random>
#include <vector>

#include "kernels/expert/expert.h"
#include "runtime/rounded_ffn.h"
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

// Whose weights the CPU computes with.
enum class Weights { kOfModel, kOfProgram };

Result<std::vector<float>> ComputeOnCpu(const SpotCheckInputs& inputs, const ExpertLaunch& launch,
                                        const DrawnRow& drawn, Weights whose) {
  const LayerContext& context = inputs.context;
  const int layer = launch.function->layer();
  const int expert = launch.function->planned().experts[drawn.slot].expert;
  const auto index = static_cast<size_t>(expert);
  const auto& experts = context.model.weights.layers[static_cast<size_t>(layer)].experts;
  const int32_t assignment = launch.slots[drawn.slot][static_cast<size_t>(drawn.row)];
  const int64_t columns = inputs.ffn_input.columns;
  std::vector<float> expected(static_cast<size_t>(columns));
  ExpertTask task;
  task.weights =
      WeightsForKernel(context.config, experts[index], context.vectors.Layer(layer).experts[index]);
  RoundedFfn rounded;
  if (whose == Weights::kOfProgram) {
    NPUMOE_ASSIGN_OR_RETURN(rounded, RoundedFfn::Of(inputs.plan, {layer, {}}, expert, experts));
    rounded.ReplaceIn(task.weights);
  }
  task.in = {inputs.ffn_input.Row(assignment / inputs.choices_per_token), 1, columns, columns};
  task.out = {expected.data(), 1, columns, columns};
  RunExperts({&task, 1}, context.pool);
  return expected;
}

Result<RowsChecked> CheckRows(const SpotCheckInputs& inputs, const ExpertLaunch& launch, Draw draw,
                              Weights whose) {
  const int64_t filled = launch.FilledRows();
  RowsChecked worst;
  if (filled == 0) return worst;
  std::mt19937_64 random(draw.seed);
  for (int i = 0; i < draw.rows; ++i) {
    const DrawnRow drawn =
        RowAt(launch,
              draw.every_row ? i : static_cast<int64_t>(random() % static_cast<uint64_t>(filled)));
    const OutputRow row =
        launch.function->OutputOf(static_cast<int>(drawn.slot), drawn.row, launch.launch.outputs);
    NPUMOE_ASSIGN_OR_RETURN(const std::vector<float> expected,
                            ComputeOnCpu(inputs, launch, drawn, whose));
    RowError of_row;
    of_row.Add(row, expected);
    worst.relative = std::max(worst.relative, of_row.Relative());
    worst.root_mean_square = std::max(worst.root_mean_square, of_row.RootMeanSquare());
  }
  return worst;
}

}  // namespace

// fp16: inputs, weights, gate, up, activation and output are rounded by up to 2^-11, and a row
// whose large terms cancel shows more of it than the worst row of an expert (verify.h: 2e-3): five
// times that.
//
// The other formats round every weight of three matrices, and the CPU computes with the model's:
// there the rows' root mean squares are compared, because the largest difference of a row has a
// long tail. Measured, of 64 rows each of random experts from 256 x 512 to 2048 x 768 with normal
// weights and with some four times as large (`runtime_test --gtest_filter=*SpotCheckLimits*`
// prints them), the largest was 0.037 in int8, 0.015 in int8-block32, 0.22 in int4-block32, 0.30 in
// lut4 and 0.11 in lut6. Of 76 rows of the demo model's prefill of 4,096 tokens (`npumoe verify
// models/demo --plan P --data models/demo/held_out_text.txt --tokens 4096 --json`: checks; P of
// `npumoe plan --npu-weights FORMAT --min-npu-share 0.9 --chunk 256`) it was 0.012, 0.0091, 0.14,
// 0.19 and 0.058, in fp16 0.0009 relative. The limits are twice the largest of both; what another
// row of the same expert answers differs by 0.8 and more. Experts of a few dozen channels pass them
// now and then (0.63 in lut4 at 64 x 32): such rows are looked at again with the program's own
// weights.
double RootMeanSquareLimit(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF16:
      break;
    case WeightFormat::kInt8:
      return 0.075;
    case WeightFormat::kInt8Block32:
      return 0.03;
    case WeightFormat::kInt4Block32:
      return 0.44;
    case WeightFormat::kLut4:
      return 0.61;
    case WeightFormat::kLut6:
      return 0.22;
  }
  return 0;
}

bool IsRounding(WeightFormat format, const RowsChecked& error) {
  return format == WeightFormat::kF16 ? error.relative <= 1e-2
                                      : error.root_mean_square <= RootMeanSquareLimit(format);
}

RowsChecked SpotCheck(const SpotCheckInputs& inputs, const ExpertLaunch& launch, Draw draw) {
  return *CheckRows(inputs, launch, draw, Weights::kOfModel);  // the model's are there
}

bool IsRight(const SpotCheckInputs& inputs, const ExpertLaunch& launch, Draw draw,
             const RowsChecked& error) {
  const WeightFormat format = inputs.plan.weight_format;
  if (IsRounding(format, error)) return true;
  if (format == WeightFormat::kF16) return false;
  const auto own = CheckRows(inputs, launch, draw, Weights::kOfProgram);
  return own.ok() && IsRounding(WeightFormat::kF16, *own);
}

}  // namespace npumoe
