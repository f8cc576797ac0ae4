// ExplainPlan: what was compared, what decided, and a picture of the plan, as plain text.
#include <fmt/format.h>

#include <algorithm>

#include "plan/plan_for_chunk.h"
#include "plan/planner.h"
#include "plan/simulator.h"

namespace npumoe {
namespace {

constexpr int kBarColumns = 32;
// Prompt lengths of the search for the break-even point.
constexpr int64_t kLongestPrompt = 32768;
constexpr int64_t kPromptStep = 32;

std::string Header(const char* first) {
  return fmt::format("  {:<14}{:>10}{:>10}{:>11}{:>11}{:>10}{:>10}{:>9}{:>9}{:>8}\n", first,
                     "time ms", "energy J", "CPU ms", "NPU ms", "launches", "programs", "padding",
                     "spill", "NPU");
}

std::string Row(const std::string& name, const Plan& plan) {
  const Prediction& p = plan.predicted;
  return fmt::format(
      "  {:<14}{:>10.1f}{:>10.2f}{:>11.1f}{:>11.1f}{:>10}{:>10}{:>8.1f}%{:>8.2f}%{:>7.1f}%\n", name,
      p.time_ms.value, p.energy_j.value, p.cpu_busy_ms.value, p.npu_busy_ms.value, p.launches,
      plan.ProgramCount(), 100 * p.padding, 100 * p.spill, 100 * p.npu_share);
}

std::string StrategyTable(const PlanInputs& inputs, const PlanningProblem& problem,
                          const Plan& plan) {
  std::string text =
      fmt::format("Strategies at chunk {}, modelled:\n{}", plan.chunk_tokens, Header("strategy"));
  for (const Strategy strategy : AllStrategies()) {
    const Plan row = strategy == plan.strategy ? plan : PlanForChunk(inputs, problem, strategy);
    text += Row(fmt::format("{}{}", strategy == plan.strategy ? "> " : "  ", Name(strategy)), row);
  }
  return text;
}

std::string ChunkTable(const PlanInputs& inputs, const PlanOptions& options, const Plan& plan) {
  std::string text = fmt::format("Chunk lengths for a prompt of {} tokens, modelled:\n{}",
                                 options.prompt_tokens, Header("chunk"));
  for (const int chunk : ChunkCandidates(options)) {
    const bool chosen = chunk == plan.chunk_tokens;
    const std::string name = fmt::format("{}{}", chosen ? "> " : "  ", chunk);
    const Result<PlanningProblem> problem = PreparePlanning(inputs, options, chunk);
    if (!problem.ok()) {
      text += fmt::format("  {:<14}left out: {}\n", name, problem.status().message());
      continue;
    }
    text += Row(name, chosen ? plan : PlanForChunk(inputs, *problem, plan.strategy));
  }
  return text;
}

std::string Bound(const Plan& plan, const CostModel& costs) {
  const Prediction& p = plan.predicted;
  const Prediction& cpu = plan.predicted_cpu;
  std::string text = fmt::format(
      "Objective {}: {:.1f} ms ±{:.1f} and {:.2f} J ±{:.2f}; CPU alone {:.1f} ms ±{:.1f} and "
      "{:.2f} J ±{:.2f}\n",
      Name(plan.objective), p.time_ms.value, p.time_ms.spread, p.energy_j.value, p.energy_j.spread,
      cpu.time_ms.value, cpu.time_ms.spread, cpu.energy_j.value, cpu.energy_j.spread);
  const bool npu_bound = p.npu_busy_ms.value > p.cpu_busy_ms.value;
  text += fmt::format("Bound by the {}: CPU busy {:.0f}%, NPU busy {:.0f}% of the time\n",
                      npu_bound ? "NPU" : "CPU", 100 * p.cpu_busy_ms.value / p.time_ms.value,
                      100 * p.npu_busy_ms.value / p.time_ms.value);
  const NpuLimits& limits = costs.profile().limits;
  text += fmt::format(
      "{} of {} loaded programs (buckets count), {:.0f} MB of weights in them, {:.1f} MB of "
      "buffers\n",
      plan.FunctionCount(), limits.max_programs, static_cast<double>(p.npu_weight_bytes) / 1e6,
      static_cast<double>(p.io_bytes) / 1e6);
  return text;
}

// Shares of one layer over the calibrated chunks.
DispatchCounts CountLayer(const Plan& plan, const ChunkLoads& loads, size_t layer) {
  Plan one;
  one.overflow = plan.overflow;
  one.layers = {plan.layers[layer]};
  ChunkLoads layer_loads{
      loads.chunk_tokens, loads.num_experts, loads.joined, loads.chunks, {loads.layers[layer]}};
  return CountCalibrated(one, layer_loads);
}

std::string LayerPicture(const Plan& plan, const ChunkLoads& loads) {
  std::string text = fmt::format(
      "Layers (bar: share of the assignments computed on the NPU):\n  {:>5} {:<{}} {:>9}{:>10}"
      "{:>10}{:>9}{:>9}\n",
      "layer", "", kBarColumns + 2, "programs", "residents", "capacity", "padding", "spill");
  for (size_t l = 0; l < plan.layers.size(); ++l) {
    const DispatchCounts counts = CountLayer(plan, loads, l);
    size_t residents = 0;
    int64_t capacity = 0;
    for (const PlannedProgram& program : plan.layers[l].programs) {
      residents += program.experts.size();
      capacity += program.CapacityRows();
    }
    const auto filled = static_cast<size_t>(NpuShare(counts) * kBarColumns + 0.5);
    const std::string bar = std::string(filled, '#') + std::string(kBarColumns - filled, '.');
    const double rows = static_cast<double>(std::max<int64_t>(1, counts.capacity_rows));
    const double all = static_cast<double>(std::max<int64_t>(1, counts.assignments()));
    text += fmt::format("  {:>5} [{}] {:>9}{:>10}{:>10}{:>8.1f}%{:>8.2f}%\n", plan.layers[l].layer,
                        bar, plan.layers[l].programs.size(), residents, capacity,
                        100 * static_cast<double>(counts.padding_rows()) / rows,
                        100 * static_cast<double>(counts.spilled_rows + counts.dropped_rows) / all);
  }
  return text;
}

std::string DenseLines(const Plan& plan) {
  std::string text;
  if (!plan.attention.layers.empty()) {
    text +=
        fmt::format("Attention of {} layers on the NPU, programs for histories of {} tokens\n",
                    plan.attention.layers.size(), fmt::join(plan.attention.history_tokens, ", "));
  }
  if (!plan.head.rows.empty()) {
    text += fmt::format("Vocabulary head on the NPU, programs for {} rows\n",
                        fmt::join(plan.head.rows, ", "));
  }
  return text;
}

// Whether this plan's programs are predicted to pay off for a prompt of that length.
bool PaysOff(const Plan& plan, const CostModel& costs, const PlanInputs& inputs,
             const PlanOptions& options, int64_t prompt_tokens) {
  PlanOptions changed = options;
  changed.prompt_tokens = prompt_tokens;
  const Result<PlanningProblem> problem = PreparePlanning(inputs, changed, plan.chunk_tokens);
  if (!problem.ok()) return false;
  Plan with = plan;
  with.min_npu_share = 0;
  Plan without = with;
  without.RemovePrograms();
  PredictValues(with, costs, PromptLoadsOf(*problem));
  PredictValues(without, costs, PromptLoadsOf(*problem));
  return ObjectiveValue(plan.objective, with.predicted) <
         ObjectiveValue(plan.objective, without.predicted) * (1 - 1e-9);
}

std::string BreakEven(const Plan& plan, const CostModel& costs, const PlanInputs& inputs,
                      const PlanOptions& options) {
  if (plan.ProgramCount() == 0) return "Break-even: the plan has no programs\n";
  int64_t pays = kPromptStep;
  while (pays <= kLongestPrompt && !PaysOff(plan, costs, inputs, options, pays)) pays *= 2;
  if (pays > kLongestPrompt) {
    return fmt::format("Break-even: this plan is not predicted to pay off up to {} tokens\n",
                       kLongestPrompt);
  }
  int64_t loses = pays / 2;
  while (pays - loses > kPromptStep) {
    const int64_t middle = (pays + loses) / 2 / kPromptStep * kPromptStep;
    (PaysOff(plan, costs, inputs, options, middle) ? pays : loses) = middle;
  }
  return fmt::format("Break-even: the NPU begins to pay off at prompts of about {} tokens\n", pays);
}

}  // namespace

std::string ExplainPlan(const Plan& plan, const PlanInputs& inputs, const PlanOptions& options) {
  const Result<PlanningProblem> problem = PreparePlanning(inputs, options, plan.chunk_tokens);
  if (!problem.ok()) return problem.status().message() + "\n";
  std::string text = fmt::format("Plan '{}' for {}, chunk {}, all times and energies modelled\n",
                                 Name(plan.strategy), plan.profile_name, plan.chunk_tokens);
  text += Bound(plan, problem->costs);
  text += BreakEven(plan, problem->costs, inputs, options) + "\n";
  text += StrategyTable(inputs, *problem, plan) + "\n";
  text += ChunkTable(inputs, options, plan) + "\n";
  text += LayerPicture(plan, problem->all_loads);
  text += DenseLines(plan);
  for (const std::string& note : plan.notes) text += "Note: " + note + "\n";
  return text;
}

}  // namespace npumoe
