// MakePlan: calibration + model shape + chip profile + limits -> plan (planning.md 3 to 5). All
// strategies run through this one path. Pure: no file, no clock, no device.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "calibrate/calibration.h"
#include "model/config.h"
#include "npu/profile.h"
#include "plan/plan.h"

namespace npumoe {

// Whether something besides experts runs on the NPU; kAuto: where it is predicted better, under the
// strategy `optimal`.
enum class NpuUse { kAuto, kNever, kAlways };
Result<NpuUse> ParseNpuUse(std::string_view text);  // "auto", "off", "on"

struct PlanOptions {
  Strategy strategy = Strategy::kOptimal;
  Objective objective = Objective::kLatency;
  OverflowMode overflow = OverflowMode::kSpill;
  double min_npu_share = 0;      // of the calibrated assignments, 0..1
  int64_t prompt_tokens = 1024;  // the prompt length that the chunk length is chosen for
  // Candidates for the chunk length, multiples of 32; one entry fixes it. Empty: 128 ... 2048.
  std::vector<int> chunk_candidates;
  double weight_bytes_cpu = 2;                            // bytes per weight in the model's file
  WeightFormat weight_format = WeightFormat::kF16;        // of the experts in programs
  WeightFormat dense_weight_format = WeightFormat::kF16;  // of attention and head in programs
  // Buckets of a program at most, where more are predicted to pay off; 1: none but its capacity.
  int max_buckets = 1;
  NpuUse attention = NpuUse::kAuto;
  NpuUse head = NpuUse::kAuto;
  SequenceBorders borders = SequenceBorders::kKeep;
};

struct PlanInputs {
  ModelConfig config;
  std::string model_hash;
  Calibration calibration;
  ChipProfile profile;
};

Result<Plan> MakePlan(const PlanInputs& inputs, const PlanOptions& options);

// Plain text for `plan --explain`: what was compared, what decided, per layer a picture.
std::string ExplainPlan(const Plan& plan, const PlanInputs& inputs, const PlanOptions& options);

}  // namespace npumoe
