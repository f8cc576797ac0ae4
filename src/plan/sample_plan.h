// For tests only: a small plan in which every field differs from its default.
#pragma once

#include "plan/plan.h"

namespace npumoe {

inline Prediction SamplePrediction(double scale) {
  Prediction p;
  p.prompt_tokens = 1024;
  p.time_ms = {123.456 * scale, 0.1 * scale};
  p.energy_j = {1.0 / 3.0 * scale, 1e-7};
  p.cpu_busy_ms = {50.5 * scale, 2};
  p.npu_busy_ms = {70.25 * scale, 3};
  p.launches = 12;
  p.padding = 0.0915;
  p.spill = 0.017;
  p.npu_share = 0.9;
  p.npu_weight_bytes = 123'456'789;
  p.io_bytes = 4096;
  return p;
}

// Hidden size 6, expert size 4, 8 experts and a shared one of size 10; layers 0, 2 and 3 are MoE, 3
// is CPU work.
inline Plan SamplePlan() {
  Plan plan;
  plan.strategy = Strategy::kPaper;
  plan.objective = Objective::kEnergy;
  plan.overflow = OverflowMode::kDrop;
  plan.min_npu_share = 0.1 + 0.2;  // a double with a long decimal form
  plan.weight_format = WeightFormat::kLut6;
  plan.dense_weight_format = WeightFormat::kInt8;
  plan.chunk_tokens = 512;
  plan.hidden_size = 6;
  plan.expert_intermediate_size = 4;
  plan.num_experts = 8;
  plan.experts_per_token = 2;
  plan.shared_intermediate_size = 10;
  plan.activation_limit = 7.5;
  plan.model_hash = "model-hash";
  plan.calibration_hash = "calibration-hash";
  plan.profile_name = "m2-max";
  plan.profile_hash = "profile-hash";
  plan.layers = {{0,
                  {{GraphForm::kDenseChains, {{3, 64}, {7, 48}}, {{16, 16}, {32, 48}}},
                   {GraphForm::kGroupedConv, {{1, 16}, {0, 16}}}}},
                 {2, {{GraphForm::kBatchedMatmul, {{5, 32}}}}},
                 {3, {}}};
  plan.predicted = SamplePrediction(1);
  plan.predicted_cpu = SamplePrediction(2);
  plan.notes = {"layer 3: left to the CPU: \"limit\" of 120 programs", "zweite Zeile – ü"};
  return plan;
}

}  // namespace npumoe
