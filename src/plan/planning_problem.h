// PlanningProblem: everything that the strategies look at for one chunk length, prepared once.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "calibrate/calibration.h"
#include "plan/cost_model.h"
#include "plan/layer_score.h"
#include "plan/planner.h"
#include "plan/shared_expert.h"

namespace npumoe {

struct PlanningProblem {
  CostModel costs;
  PlanOptions options;
  int chunk_tokens = 0;
  int64_t partial_tokens = 0;       // of the prompt's last chunk; 0: it is whole
  ChunkLoads loads;                 // the calibration's chunks: routed experts, for decisions
  ChunkLoads all_loads;             // the same with the shared expert, for counting
  ChunkLoads all_partial_loads;     // of the last chunk's length; without chunks when it is whole
  std::vector<LayerLoads> samples;  // per MoE layer; a few more chunks than `loads` has
  std::vector<int> model_layers;    // model's index of each MoE layer
  RowCosts row_costs;
  ScoreWeights weights;
  SharedExpert shared;
  std::vector<std::string> notes;  // experts that fp16 cannot hold

  size_t layer_count() const { return samples.size(); }
  int num_experts() const { return loads.num_experts; }  // routed
};

// A calibration of another model, or of another shape, is an error that says to calibrate.
Status CheckCalibrationFits(const Calibration& calibration, const ModelConfig& config,
                            const std::string& model_hash);

// Fails when the calibration is of another shape, or too short for the chunk.
Result<PlanningProblem> PreparePlanning(const PlanInputs& inputs, const PlanOptions& options,
                                        int chunk_tokens);

// How an objective weighs elapsed time, CPU time and NPU energy.
ScoreWeights WeightsOf(Objective objective, const ChipProfile& profile);
// The same of a whole prediction: lower is better.
double ObjectiveValue(Objective objective, const Prediction& prediction);

}  // namespace npumoe
