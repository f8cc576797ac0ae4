#include "plan/plan_for_chunk.h"

#include <fmt/format.h>

#include <algorithm>

#include "plan/optimum.h"
#include "plan/strategies.h"

namespace npumoe {
namespace {

Plan EmptyPlan(const PlanInputs& inputs, const PlanningProblem& problem, Strategy strategy) {
  const PlanOptions& options = problem.options;
  Plan plan;
  plan.strategy = strategy;
  plan.objective = options.objective;
  plan.overflow = options.overflow;
  plan.min_npu_share = options.min_npu_share;
  plan.weight_format = options.weight_format;
  plan.dense_weight_format = options.dense_weight_format;
  plan.chunk_tokens = problem.chunk_tokens;
  plan.hidden_size = inputs.config.hidden_size;
  plan.expert_intermediate_size = inputs.config.moe.expert_intermediate_size;
  plan.num_experts = inputs.config.moe.num_experts;
  plan.experts_per_token = inputs.config.moe.experts_per_token;
  plan.shared_intermediate_size = inputs.config.moe.shared_intermediate_size;
  plan.activation_limit = double{inputs.config.moe.activation_limit};
  plan.model_hash = inputs.model_hash;
  plan.calibration_hash = inputs.calibration.Hash();
  plan.profile_name = inputs.profile.name;
  plan.profile_hash = inputs.profile.hash;
  return plan;
}

Plan Predicted(Plan plan, const PlanningProblem& problem, StrategyPlan decided) {
  plan.layers = std::move(decided.layers);
  plan.notes = problem.notes;
  plan.notes.insert(plan.notes.end(), decided.notes.begin(), decided.notes.end());
  PredictValues(plan, problem.costs, PromptLoadsOf(problem));
  return plan;
}

// The optimum and every other strategy compete with spill, whatever the overflow mode: a plan
// must not become cheap by losing tokens.
Plan PlanOptimal(const PlanInputs& inputs, const PlanningProblem& problem) {
  Plan frame = EmptyPlan(inputs, problem, Strategy::kOptimal);
  frame.overflow = OverflowMode::kSpill;
  std::vector<std::vector<LayerPlan>> starts;
  std::vector<Plan> rivals;
  for (const Strategy strategy : AllStrategies()) {
    if (strategy == Strategy::kOptimal) continue;
    rivals.push_back(Predicted(frame, problem, {PlanByRule(problem, strategy).layers, {}}));
    starts.push_back(rivals.back().layers);
    rivals.back().notes.push_back(
        fmt::format("no better solution was found than that of '{}'", Name(strategy)));
  }
  Plan best = Predicted(frame, problem, PlanOptimum(problem, starts));
  for (Plan& rival : rivals) {
    if (IsBetterPlan(rival, best)) best = std::move(rival);
  }
  best.overflow = problem.options.overflow;
  if (best.overflow == OverflowMode::kDrop) {
    PredictValues(best, problem.costs, PromptLoadsOf(problem));
  }
  return best;
}

}  // namespace

PromptLoads PromptLoadsOf(const PlanningProblem& problem) {
  return {&problem.all_loads, &problem.all_partial_loads, problem.partial_tokens,
          problem.options.prompt_tokens};
}

Plan PlanForChunk(const PlanInputs& inputs, const PlanningProblem& problem, Strategy strategy) {
  if (strategy == Strategy::kOptimal) return PlanOptimal(inputs, problem);
  return Predicted(EmptyPlan(inputs, problem, strategy), problem, PlanByRule(problem, strategy));
}

bool IsBetterPlan(const Plan& a, const Plan& b) {
  const double share_a = std::min(a.predicted.npu_share, a.min_npu_share);
  const double share_b = std::min(b.predicted.npu_share, b.min_npu_share);
  if (share_a != share_b) return share_a > share_b;
  return ObjectiveValue(a.objective, a.predicted) < ObjectiveValue(b.objective, b.predicted);
}

std::vector<int> ChunkCandidates(const PlanOptions& options) {
  std::vector<int> wanted = options.chunk_candidates;
  if (wanted.empty()) wanted = {128, 256, 512, 1024, 2048};
  std::sort(wanted.begin(), wanted.end());
  std::vector<int> useful;
  for (const int chunk : wanted) {
    if (!useful.empty() && useful.back() >= options.prompt_tokens) break;
    useful.push_back(chunk);
  }
  return useful;
}

}  // namespace npumoe
