#include "plan/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "plan/buckets.h"
#include "plan/dense_programs.h"
#include "plan/plan_for_chunk.h"

namespace npumoe {
namespace {

constexpr int64_t kMaxPromptTokens = int64_t{1} << 24;  // chosen: beyond any context length

constexpr int kMaxBuckets = 8;  // chosen: each halves the one above

Status CheckFormat(const ModelConfig& config, WeightFormat format) {
  if (format != WeightFormat::kInt8Block32 && format != WeightFormat::kInt4Block32) return {};
  for (const int columns : {config.hidden_size, config.moe.expert_intermediate_size,
                            config.moe.shared_intermediate_size}) {
    if (columns % 32 == 0) continue;
    return Unsupported(fmt::format(
        "weight format {} stores blocks of 32, a matrix of this model has rows of {}; use int8",
        Name(format), columns));
  }
  return OkStatus();
}

Status CheckOptions(const PlanInputs& inputs, const PlanOptions& options) {
  if (!(options.min_npu_share >= 0 && options.min_npu_share <= 1)) {
    return UsageError(fmt::format("the smallest share of the NPU is {}; allowed are 0 to 1",
                                  options.min_npu_share));
  }
  if (options.prompt_tokens < 1 || options.prompt_tokens > kMaxPromptTokens) {
    return UsageError(fmt::format("a prompt of {} tokens; allowed are 1 to {}",
                                  options.prompt_tokens, kMaxPromptTokens));
  }
  for (const int chunk : options.chunk_candidates) {
    if (chunk < kCalibrationBlockTokens || chunk % kCalibrationBlockTokens != 0 ||
        chunk > inputs.profile.limits.max_axis) {
      return UsageError(fmt::format("a chunk of {} tokens; allowed are multiples of {} up to {}",
                                    chunk, kCalibrationBlockTokens,
                                    inputs.profile.limits.max_axis));
    }
  }
  if (options.max_buckets < 1 || options.max_buckets > kMaxBuckets) {
    return UsageError(
        fmt::format("{} buckets a program; allowed are 1 to {}", options.max_buckets, kMaxBuckets));
  }
  NPUMOE_RETURN_IF_ERROR(CheckFormat(inputs.config, options.weight_format));
  if (options.strategy == Strategy::kCpu &&
      (options.attention == NpuUse::kAlways || options.head == NpuUse::kAlways)) {
    return UsageError("strategy 'cpu' has no programs: attention and head cannot be on the NPU");
  }
  if (inputs.config.MoeLayers().empty()) {
    return Unsupported("the model has no MoE layer; there is nothing to plan");
  }
  return OkStatus();
}

// What was found over all chunk lengths.
struct Best {
  std::optional<Plan> plan;
  std::optional<PlanningProblem> problem;  // of the best plan
  std::optional<Plan> cpu;                 // the CPU alone, at its own best chunk length
  std::optional<PlanningProblem> cpu_problem;
  std::vector<std::string> notes;
  Status first_error;
};

void TryChunk(const PlanInputs& inputs, const PlanOptions& options, int chunk, Best& best) {
  Result<PlanningProblem> problem = PreparePlanning(inputs, options, chunk);
  if (!problem.ok()) {
    if (best.first_error.ok()) best.first_error = problem.status();
    best.notes.push_back(
        fmt::format("chunks of {} were left out: {}", chunk, problem.status().message()));
    return;
  }
  Plan cpu = PlanForChunk(inputs, *problem, Strategy::kCpu);
  if (!best.cpu || ObjectiveValue(options.objective, cpu.predicted) <
                       ObjectiveValue(options.objective, best.cpu->predicted)) {
    best.cpu = std::move(cpu);
    best.cpu_problem = *problem;
  }
  Plan plan = PlanForChunk(inputs, *problem, options.strategy);
  if (best.plan && !IsBetterPlan(plan, *best.plan)) return;
  best.plan = std::move(plan);
  best.problem = std::move(*problem);
}

void AddClosingNotes(const PlanOptions& options, Plan& plan) {
  if (plan.predicted.npu_share < options.min_npu_share - 1e-9) {
    plan.notes.push_back(fmt::format(
        "the NPU computes {:.1f}% of the calibrated assignments, less than the {:.1f}% asked for: "
        "the limits of {} allow strategy '{}' no more",
        100 * plan.predicted.npu_share, 100 * options.min_npu_share, plan.profile_name,
        Name(plan.strategy)));
  }
  if (plan.strategy == Strategy::kOptimal && plan.ProgramCount() == 0 &&
      options.min_npu_share == 0) {
    plan.notes.push_back(fmt::format(
        "for prompts of {} tokens the CPU alone is predicted best; ask for a share of the NPU to "
        "plan programs nevertheless",
        options.prompt_tokens));
  }
}

}  // namespace

Result<NpuUse> ParseNpuUse(std::string_view text) {
  if (text == "auto") return NpuUse::kAuto;
  if (text == "off") return NpuUse::kNever;
  if (text == "on") return NpuUse::kAlways;
  return UsageError(fmt::format("'{}' is neither auto nor on nor off", text));
}

Result<Plan> MakePlan(const PlanInputs& inputs, const PlanOptions& options) {
  NPUMOE_RETURN_IF_ERROR(CheckOptions(inputs, options));
  Best best;
  for (const int chunk : ChunkCandidates(options)) TryChunk(inputs, options, chunk, best);
  if (!best.plan) return best.first_error;
  Plan plan = std::move(*best.plan);
  if (options.max_buckets > 1) {
    AddBuckets(plan, *best.problem, options.max_buckets);
    PredictValues(plan, best.problem->costs, PromptLoadsOf(*best.problem));
  }
  NPUMOE_RETURN_IF_ERROR(AddDensePrograms(*best.problem, plan));
  PredictSpreads(plan, best.problem->costs, PromptLoadsOf(*best.problem));
  PredictSpreads(*best.cpu, best.cpu_problem->costs, PromptLoadsOf(*best.cpu_problem));
  plan.predicted_cpu = best.cpu->predicted;
  plan.notes.insert(plan.notes.end(), best.notes.begin(), best.notes.end());
  AddClosingNotes(options, plan);
  return plan;
}

}  // namespace npumoe
