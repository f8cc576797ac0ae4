// Spot checks: rows of a launch that the CPU computes, too, so that a device whose numbers are
// wrong is noticed. The first launch of a program is checked on a few rows, every later one on a
// row drawn at random: a program that corrupts a share s of its rows is caught with probability s
// at each launch.
#pragma once

#include <cstdint>

#include "graph/weight_format.h"
#include "kernels/matrix.h"
#include "runtime/layer.h"
#include "runtime/npu_executor.h"

namespace npumoe {

// Largest |npu - cpu| over the largest |cpu| of one row that is taken for rounding; what a wrong
// program answers differs by about 1. See spot_check.cc for the arguments.
double SpotCheckLimit(WeightFormat format);

struct SpotCheckInputs {
  const LayerContext& context;
  ConstMatrix ffn_input;  // [tokens, hidden] of the chunk
  int choices_per_token = 0;
};

// Largest error, as above, over `rows` of the launch's rows drawn by `seed`; infinity when one is
// no finite number. The launch must be done.
double SpotCheck(const SpotCheckInputs& inputs, const Launch& launch, int rows, uint64_t seed);

}  // namespace npumoe
