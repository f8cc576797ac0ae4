#include "plan/strategies.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/checked_math.h"
#include "calibrate/popularity.h"
#include "plan/program_limits.h"
#include "plan/program_units.h"

namespace npumoe {
namespace {

// Three tiers as multiples of the mean load: the paper gives its top quartile four times the base
// capacity; the other two are not known (npumoe-paper.md section 4), chosen here.
constexpr std::array<double, 3> kTierMultiples = {1, 2, 4};

int64_t LargestLoad(const PlanningProblem& problem, size_t layer) {
  const std::vector<int32_t>& loads = problem.loads.layers[layer];
  return *std::max_element(loads.begin(), loads.end());
}

// Capacity of every expert [experts] of a layer, by the strategy's rule.
std::vector<int64_t> CapacitiesByRule(const PlanningProblem& problem, Strategy strategy,
                                      size_t layer) {
  const int64_t quantum = problem.row_costs.quantum;
  const auto experts = static_cast<size_t>(problem.num_experts());
  const auto all = [&](int64_t rows) {
    return std::vector<int64_t>(experts, RoundUp(rows, quantum));
  };
  switch (strategy) {
    case Strategy::kNaive:
      return all(problem.chunk_tokens);
    case Strategy::kBase:
      return all(LargestLoad(problem, layer));
    default:
      return TierCapacities(problem.loads, layer, kTierMultiples, quantum);
  }
}

bool IsGrouped(Strategy strategy) {
  return strategy == Strategy::kTiersGroups || strategy == Strategy::kPaper;
}

std::vector<LayerUnits> WantedUnits(const PlanningProblem& problem, Strategy strategy) {
  std::vector<LayerUnits> layers;
  for (size_t l = 0; l < problem.layer_count(); ++l) {
    const std::vector<int64_t> capacities = CapacitiesByRule(problem, strategy, l);
    layers.push_back(IsGrouped(strategy) ? GroupsOfEqualCapacity(problem, l, capacities)
                                         : OneExpertPerProgram(problem, l, capacities));
    AddSharedUnit(problem, l, layers.back());
  }
  return layers;
}

ProgramBudget WholeBudget(const PlanningProblem& problem) {
  const ChipProfile& profile = problem.costs.profile();
  return {profile.limits.max_programs, ProgramMemoryBytes(profile)};
}

double AssignmentsPerChunk(const PlanningProblem& problem) {
  return static_cast<double>(problem.layer_count()) * problem.chunk_tokens *
         problem.costs.config().moe.choices_per_token();
}

double ShareOf(const PlanningProblem& problem, const std::vector<ProgramUnit>& units) {
  double filled = 0;
  for (const ProgramUnit& unit : units) filled += unit.filled;
  return filled / AssignmentsPerChunk(problem);
}

// Takes out of `layers` the groups whose launch does not pay off (paper, section 4.3).
std::vector<ProgramUnit> TakeOutLosses(std::vector<LayerUnits>& layers) {
  std::vector<ProgramUnit> losses;
  for (LayerUnits& units : layers) {
    const auto first_loss = std::stable_partition(
        units.begin(), units.end(), [](const ProgramUnit& unit) { return unit.gain_ms > 0; });
    losses.insert(losses.end(), first_loss, units.end());
    units.erase(first_loss, units.end());
  }
  return losses;
}

// Groups that cost more than they save, the cheapest per assignment first, until the wanted share
// of the assignments is on the NPU.
void AddForShare(const PlanningProblem& problem, std::vector<ProgramUnit> losses,
                 ProgramBudget& budget, std::vector<ProgramUnit>& taken) {
  const auto gain_per_row = [](const ProgramUnit& unit) {
    return unit.filled > 0 ? unit.gain_ms / unit.filled : -1e300;
  };
  std::stable_sort(losses.begin(), losses.end(),
                   [&](const auto& a, const auto& b) { return gain_per_row(a) > gain_per_row(b); });
  for (const ProgramUnit& unit : losses) {
    if (ShareOf(problem, taken) >= problem.options.min_npu_share) return;
    if (unit.filled > 0 && budget.Take(unit)) taken.push_back(unit);
  }
}

std::vector<LayerPlan> LayersOf(const PlanningProblem& problem,
                                const std::vector<ProgramUnit>& units) {
  std::vector<LayerPlan> layers;
  for (const int layer : problem.model_layers) layers.push_back({layer, {}});
  for (const ProgramUnit& unit : units) layers[unit.layer].programs.push_back(unit.program);
  return layers;
}

}  // namespace

StrategyPlan PlanByRule(const PlanningProblem& problem, Strategy strategy) {
  if (strategy == Strategy::kCpu) return {LayersOf(problem, {}), {}};
  std::vector<LayerUnits> wanted = WantedUnits(problem, strategy);
  std::vector<ProgramUnit> losses;
  if (strategy == Strategy::kPaper) losses = TakeOutLosses(wanted);
  ProgramBudget budget = WholeBudget(problem);
  TakenUnits units = TakeInTurns(wanted, budget);
  AddForShare(problem, std::move(losses), budget, units.taken);
  StrategyPlan plan{LayersOf(problem, units.taken), {}};
  if (units.left_out > 0) {
    plan.notes.push_back(fmt::format(
        "{} of {} programs are loaded, the most popular ones; the rest is CPU work: {} allows {} "
        "programs in a process and {} experts in memory",
        units.taken.size(), static_cast<int64_t>(units.taken.size()) + units.left_out,
        problem.costs.profile().name, problem.costs.profile().limits.max_programs,
        MaxResidentExperts(problem.costs)));
  }
  return plan;
}

}  // namespace npumoe
