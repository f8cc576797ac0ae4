#include "plan/dense_programs.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked_math.h"
#include "plan/attention_shape.h"
#include "plan/attention_sizes.h"
#include "plan/dense_costs.h"
#include "plan/plan_for_chunk.h"
#include "plan/program_limits.h"

namespace npumoe {
namespace {

constexpr int64_t kAlignTokens = 32;  // last axes of 64 bytes (ane-facts, section 3)
constexpr double kSmallestGain = 1e-9;

int64_t RoundUp(int64_t value, int64_t step) { return DivideRoundUp(value, step) * step; }

// The longest history that a layer of the model reads for a chunk at `position`.
int64_t LongestHistory(const ModelConfig& config, int64_t position) {
  int64_t longest = 0;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    longest = std::max(longest, HistoryTokens(config, layer, position));
  }
  return longest;
}

int64_t FreePlaces(const Plan& plan, const NpuLimits& limits) {
  return std::max<int64_t>(0, limits.max_programs - plan.FunctionCount());
}

int64_t FreeBytes(const Plan& plan, const ChipProfile& profile) {
  return std::max<int64_t>(0, ProgramMemoryBytes(profile) - plan.predicted.npu_weight_bytes);
}

Status CheckBytes(int64_t bytes, const NpuLimits& limits, const char* what) {
  const int64_t most = std::min(limits.max_program_bytes, limits.max_weight_file_bytes);
  if (bytes <= most) return OkStatus();
  return Unsupported(fmt::format("{} of {} bytes of weights; the chip takes {} in one program",
                                 what, bytes, most));
}

// As many layers as there is room for, the first ones: where places are short, history lengths go
// first, the shorter ones before the longer.
Status AddAttention(const PlanningProblem& problem, Plan& plan) {
  const ModelConfig& config = problem.costs.config();
  const ChipProfile& profile = problem.costs.profile();
  NPUMOE_RETURN_IF_ERROR(CheckAttentionFits(config));
  NPUMOE_RETURN_IF_ERROR(CheckAttentionWidths(config, profile.limits.max_channels));
  NPUMOE_RETURN_IF_ERROR(CheckAttentionFormat(config, plan.dense_weight_format));
  const int64_t layer_bytes = AttentionWeightBytes(problem.costs);
  NPUMOE_RETURN_IF_ERROR(CheckBytes(layer_bytes, profile.limits, "attention"));
  AttentionPlan& attention = plan.attention;
  attention.history_tokens =
      HistoryLengths(config, profile.limits, plan.chunk_tokens, problem.options.prompt_tokens);
  const int64_t places = FreePlaces(plan, profile.limits);
  const auto lengths = [&] { return static_cast<int64_t>(attention.history_tokens.size()); };
  while (lengths() > 2 && lengths() * config.num_layers > places) {
    attention.history_tokens.erase(attention.history_tokens.begin() + 1);
  }
  const int64_t layers = std::min(
      {int64_t{config.num_layers}, places / lengths(), FreeBytes(plan, profile) / layer_bytes});
  for (int layer = 0; layer < layers; ++layer) attention.layers.push_back(layer);
  if (layers == config.num_layers) return OkStatus();
  plan.notes.push_back(
      fmt::format("attention of {} of {} layers is on the NPU: {} places for programs and {} of "
                  "memory are left "
                  "beside the experts",
                  layers, config.num_layers, places, FreeBytes(plan, profile)));
  if (layers > 0) return OkStatus();
  attention = {};
  return Unsupported("no place is left for attention programs beside those of the experts");
}

Status AddHead(const PlanningProblem& problem, Plan& plan) {
  const ModelConfig& config = problem.costs.config();
  const ChipProfile& profile = problem.costs.profile();
  NPUMOE_RETURN_IF_ERROR(CheckHeadFormat(config, plan.dense_weight_format));
  const auto slice_entries = std::min<int64_t>(profile.limits.max_channels, config.vocab_size);
  const int64_t bytes = HeadWeightBytes(problem.costs, slice_entries);
  NPUMOE_RETURN_IF_ERROR(CheckBytes(bytes, profile.limits, "a vocabulary head"));
  std::vector<int64_t> rows = {profile.limits.capacity_quantum};
  if (plan.chunk_tokens > rows.front()) rows.push_back(plan.chunk_tokens);
  if (FreePlaces(plan, profile.limits) < static_cast<int64_t>(rows.size()) ||
      bytes > FreeBytes(plan, profile)) {
    return Unsupported("no place is left for the head's programs beside the others");
  }
  plan.head = {std::move(rows), slice_entries};
  return OkStatus();
}

struct Wanted {
  bool attention = false;
  bool head = false;
};

Result<Plan> With(const PlanningProblem& problem, const Plan& plan, const Wanted& wanted) {
  Plan with = plan;
  if (wanted.attention) NPUMOE_RETURN_IF_ERROR(AddAttention(problem, with));
  if (wanted.head) NPUMOE_RETURN_IF_ERROR(AddHead(problem, with));
  if (wanted.attention || wanted.head) {
    PredictValues(with, problem.costs, PromptLoadsOf(problem));
  }
  return with;
}

bool Allows(NpuUse use, bool on_npu) {
  if (use == NpuUse::kAuto) return true;
  return on_npu == (use == NpuUse::kAlways);
}

bool Forces(const PlanOptions& options) {
  return options.attention == NpuUse::kAlways || options.head == NpuUse::kAlways;
}

}  // namespace

std::vector<int64_t> HistoryLengths(const ModelConfig& config, const NpuLimits& limits,
                                    int64_t chunk_tokens, int64_t prompt_tokens) {
  const int64_t last_chunk = (DivideRoundUp(prompt_tokens, chunk_tokens) - 1) * chunk_tokens;
  const int64_t room = std::min(limits.max_axis, limits.max_channels) - chunk_tokens;
  const int64_t longest = std::min(RoundUp(LongestHistory(config, last_chunk), kAlignTokens),
                                   std::max<int64_t>(0, room) / kAlignTokens * kAlignTokens);
  std::vector<int64_t> lengths = {0};
  for (int64_t length = chunk_tokens; length < longest; length *= 2) lengths.push_back(length);
  if (longest > 0) lengths.push_back(longest);
  return lengths;
}

Status AddDensePrograms(const PlanningProblem& problem, Plan& plan) {
  const PlanOptions& options = problem.options;
  // The published strategies place experts only.
  if (plan.strategy != Strategy::kOptimal && !Forces(options)) return OkStatus();
  Status refusal;
  std::optional<Plan> best;
  for (const Wanted wanted : {Wanted{false, false}, {false, true}, {true, false}, {true, true}}) {
    if (!Allows(options.attention, wanted.attention) || !Allows(options.head, wanted.head))
      continue;
    Result<Plan> candidate = With(problem, plan, wanted);
    if (!candidate.ok()) {
      if (refusal.ok()) refusal = candidate.status();
      continue;
    }
    const auto value = [&](const Plan& p) { return ObjectiveValue(p.objective, p.predicted); };
    if (!best || value(*candidate) < value(*best) * (1 - kSmallestGain))
      best = *std::move(candidate);
  }
  if (!best) return refusal;
  plan = *std::move(best);
  return OkStatus();
}

}  // namespace npumoe
