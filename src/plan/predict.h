// Predictions: what one prompt will cost under a plan, from calibrated loads and modelled costs.
// Time comes from the same replay as the simulator's, counts from all calibrated chunks.
#pragma once

#include "calibrate/calibration.h"
#include "plan/cost_model.h"
#include "plan/plan.h"
#include "plan/simulator.h"

namespace npumoe {

// Loads that a prompt may meet. `partial_loads` has chunks of at least `partial_tokens`, which
// are scaled down to it.
struct PromptLoads {
  const ChunkLoads* whole = nullptr;
  const ChunkLoads* partial = nullptr;
  int64_t partial_tokens = 0;
  int64_t prompt_tokens = 0;
};

// Average counts of one whole chunk over the calibrated chunks, summed over layers. The share of
// the assignments that the NPU computes is that of min_npu_share.
DispatchCounts CountCalibrated(const Plan& plan, const ChunkLoads& loads);
double NpuShare(const DispatchCounts& counts);

// Fills `plan.predicted` without spreads.
void PredictValues(Plan& plan, const CostModel& costs, const PromptLoads& loads);

// Adds the spreads: each figure of the profile is moved by its own spread, up and down, all else
// equal; the changes add up as independent errors do.
void PredictSpreads(Plan& plan, const CostModel& costs, const PromptLoads& loads);

}  // namespace npumoe
