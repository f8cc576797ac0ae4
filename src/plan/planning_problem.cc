#include "plan/planning_problem.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked_math.h"
#include "plan/load_samples.h"

namespace npumoe {
namespace {

// Chosen: a quantile by 64 samples is good to about 1/64, and the search stays below a second.
constexpr int kMaxSamples = 64;
// fp16 ends at 65504. Activations beyond half of that in the calibration may pass it on other
// text (chosen; the largest value seen grows slowly with the amount of text).
constexpr double kSafeActivation = 65504 * 0.5;
// CPU time alone would not tell plans apart that only differ in waiting for the NPU.
constexpr double kTieBreak = 1e-3;

bool FitsFp16(const ExpertActivationMax& largest) {
  // Written so that NaN does not fit.
  return double{largest.inner} <= kSafeActivation && double{largest.output} <= kSafeActivation;
}

void ExcludeOverflowing(const Calibration& calibration, PlanningProblem& problem) {
  for (size_t l = 0; l < problem.layer_count(); ++l) {
    const std::vector<ExpertActivationMax>& activation = calibration.layers[l].activation;
    for (size_t e = 0; e < activation.size(); ++e) {
      if (FitsFp16(activation[e])) continue;
      const bool routed = e < problem.samples[l].eligible.size();
      (routed ? problem.samples[l].eligible[e] : problem.shared.eligible[l]) = false;
      problem.notes.push_back(fmt::format(
          "layer {} {} stays on the CPU: its largest calibrated activation {:.0f} is beyond the "
          "safe "
          "part of fp16's range ({:.0f} of 65504)",
          problem.model_layers[l], routed ? fmt::format("expert {}", e) : "shared expert",
          std::max(activation[e].inner, activation[e].output), kSafeActivation));
    }
  }
}

// Chunks run in pairs; an odd last one runs alone (schedule.h).
double OverlappedShare(int64_t prompt_tokens, int chunk_tokens) {
  const int64_t chunks = DivideRoundUp(prompt_tokens, int64_t{chunk_tokens});
  return static_cast<double>(chunks / 2 * 2) / static_cast<double>(chunks);
}

}  // namespace

Status CheckCalibrationFits(const Calibration& calibration, const ModelConfig& config,
                            const std::string& model_hash) {
  const MoeConfig& moe = config.moe;
  if (calibration.num_experts != moe.num_experts ||
      calibration.experts_per_token != moe.experts_per_token) {
    return InvalidInput(fmt::format(
        "calibration of {} experts, {} per token; the model has {} experts, {} per token; "
        "calibrate this model",
        calibration.num_experts, calibration.experts_per_token, moe.num_experts,
        moe.experts_per_token));
  }
  if (calibration.model_hash != model_hash) {
    return InvalidInput(fmt::format(
        "calibration of model {}; this model is {}; calibrate this model",
        calibration.model_hash.empty() ? "(unknown)" : calibration.model_hash, model_hash));
  }
  std::vector<int> calibrated;
  for (const LayerCalibration& layer : calibration.layers) calibrated.push_back(layer.layer);
  if (calibrated != config.MoeLayers()) {
    return InvalidInput(
        fmt::format("calibration of {} MoE layers; the model has {}, or others; calibrate this "
                    "model",
                    calibrated.size(), config.MoeLayers().size()));
  }
  return OkStatus();
}

ScoreWeights WeightsOf(Objective objective, const ChipProfile& profile) {
  ScoreWeights weights;
  switch (objective) {
    case Objective::kLatency:
      return weights;
    case Objective::kEnergy:
      weights.elapsed = (profile.cpu.idle_w.value + profile.npu.idle_w.value) / 1e3;
      weights.cpu_busy = profile.cpu.active_w.value / 1e3;
      weights.npu_energy = 1;
      return weights;
    case Objective::kCpuTime:
      weights.elapsed = kTieBreak;
      weights.cpu_busy = 1;
      return weights;
  }
  return weights;
}

double ObjectiveValue(Objective objective, const Prediction& prediction) {
  switch (objective) {
    case Objective::kLatency:
      return prediction.time_ms.value;
    case Objective::kEnergy:
      return prediction.energy_j.value;
    case Objective::kCpuTime:
      return prediction.cpu_busy_ms.value + kTieBreak * prediction.time_ms.value;
  }
  return prediction.time_ms.value;
}

Result<PlanningProblem> PreparePlanning(const PlanInputs& inputs, const PlanOptions& options,
                                        int chunk_tokens) {
  NPUMOE_RETURN_IF_ERROR(
      CheckCalibrationFits(inputs.calibration, inputs.config, inputs.model_hash));
  PlanningProblem problem{CostModel(inputs.config, inputs.profile, options.weight_bytes_cpu,
                                    {options.weight_format, options.dense_weight_format}),
                          options,
                          chunk_tokens,
                          options.prompt_tokens % chunk_tokens,
                          {},
                          {},
                          {},
                          {},
                          inputs.config.MoeLayers(),
                          {},
                          {},
                          {},
                          {}};
  const Calibration& calibration = inputs.calibration;
  NPUMOE_ASSIGN_OR_RETURN(problem.loads, LoadsPerChunk(calibration, chunk_tokens, options.borders));
  if (problem.partial_tokens > 0) {
    const auto blocks =
        static_cast<int>(RoundUp(problem.partial_tokens, int64_t{kCalibrationBlockTokens}));
    NPUMOE_ASSIGN_OR_RETURN(const ChunkLoads partial,
                            LoadsPerChunk(calibration, blocks, options.borders));
    problem.all_partial_loads = WithSharedExpert(partial, inputs.config.moe);
  }
  problem.all_loads = WithSharedExpert(problem.loads, inputs.config.moe);
  NPUMOE_ASSIGN_OR_RETURN(problem.samples, SampleLoads(calibration, problem.loads, kMaxSamples));
  problem.row_costs = TabulateRowCosts(problem.costs, chunk_tokens);
  problem.shared = PlanSharedExpert(problem.costs, chunk_tokens, problem.samples.size());
  problem.weights = WeightsOf(options.objective, inputs.profile);
  problem.weights.overlapped = OverlappedShare(options.prompt_tokens, chunk_tokens);
  problem.weights.cpu_base_ms =
      problem.costs.AttentionAndRouterMs(chunk_tokens, options.prompt_tokens / 2);
  ExcludeOverflowing(calibration, problem);
  return problem;
}

}  // namespace npumoe
