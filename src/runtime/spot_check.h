// Spot checks: rows of a launch that the CPU computes, too, so that a device whose numbers are
// wrong is noticed. The first launch of a program is checked on a few rows, every later one on a
// row drawn at random: a program that corrupts a share s of its rows is caught with probability s
// at each launch.
#pragma once

#include <cstdint>

#include "graph/weight_format.h"
#include "kernels/matrix.h"
#include "runtime/layer.h"
#include "runtime/moe_dispatch.h"

namespace npumoe {

// How far the worst row was (row_error.h).
struct RowsChecked {
  double relative = 0;
  double root_mean_square = 0;
};
// The limits are at least so many times the largest that was measured (spot_check.cc).
inline constexpr double kSpotCheckMargin = 2;
// Whether that is the rounding of the format; what a wrong program answers differs by about 1. The
// arguments stand in spot_check.cc.
bool IsRounding(WeightFormat format, const RowsChecked& error);
double RootMeanSquareLimit(WeightFormat format);  // of a format other than fp16

struct SpotCheckInputs {
  const LayerContext& context;
  const Plan& plan;
  ConstMatrix ffn_input;  // [tokens, hidden] of the chunk
  int choices_per_token = 0;
};
// Which of a launch's rows: so many, drawn by the seed, or every one.
struct Draw {
  int rows = 0;
  uint64_t seed = 0;
  bool every_row = false;
};

// How far they are from what the CPU computes with the model's weights. The launch must be done.
RowsChecked SpotCheck(const SpotCheckInputs& inputs, const ExpertLaunch& launch, Draw draw);
// Whether rows with that error are right. Beyond the format's usual rounding they are computed
// again with the program's own weights, which leaves no doubt and takes longer.
bool IsRight(const SpotCheckInputs& inputs, const ExpertLaunch& launch, Draw draw,
             const RowsChecked& error);

}  // namespace npumoe
