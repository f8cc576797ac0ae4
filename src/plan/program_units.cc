#include "plan/program_units.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "calibrate/popularity.h"
#include "plan/program_limits.h"

namespace npumoe {
namespace {

struct ExpertLoad {
  double mean = 0;    // tokens per chunk
  double filled = 0;  // of these, within the capacity
};

ExpertLoad MeasureLoad(const PlanningProblem& problem, size_t layer, int expert, int64_t capacity) {
  const ChunkLoads& loads = problem.loads;
  const auto experts = static_cast<size_t>(loads.num_experts);
  int64_t sum = 0;
  int64_t filled = 0;
  for (size_t c = 0; c < static_cast<size_t>(loads.chunks); ++c) {
    const int64_t load = loads.layers[layer][c * experts + static_cast<size_t>(expert)];
    sum += load;
    filled += std::min(load, capacity);
  }
  const auto chunks = static_cast<double>(loads.chunks);
  return {static_cast<double>(sum) / chunks, static_cast<double>(filled) / chunks};
}

// launch + sync + t_npu(capacities) against t_cpu(expected tokens), the paper's section 4.3 as
// far as it is known.
ProgramUnit MakeUnit(const PlanningProblem& problem, size_t layer, PlannedProgram program) {
  ProgramUnit unit{layer, std::move(program), 0, 0, 0, 0};
  for (const PlannedExpert& planned : unit.program.experts) {
    const ExpertLoad load = MeasureLoad(problem, layer, planned.expert, planned.capacity);
    unit.popularity += load.mean;
    unit.filled += load.filled;
    unit.gain_ms += problem.costs.CpuExpertMs(static_cast<int64_t>(std::ceil(load.mean)));
    unit.weight_bytes += problem.costs.ExpertProgramBytes(planned.expert);
  }
  unit.gain_ms -= problem.costs.LaunchAtCapacity(unit.program).total_ms();
  return unit;
}

// Eligible experts with a capacity, the most popular first.
std::vector<int> RankedExperts(const PlanningProblem& problem, size_t layer,
                               const std::vector<int64_t>& capacities) {
  std::vector<double> mean;
  for (int expert = 0; expert < problem.num_experts(); ++expert) {
    mean.push_back(MeasureLoad(problem, layer, expert, 0).mean);
  }
  std::vector<int> ranked = ByPopularity(mean);
  std::erase_if(ranked, [&](int expert) {
    const auto e = static_cast<size_t>(expert);
    return capacities[e] == 0 || !problem.samples[layer].eligible[e];
  });
  return ranked;
}

void SortByPopularity(LayerUnits& units) {
  std::stable_sort(units.begin(), units.end(), [](const ProgramUnit& a, const ProgramUnit& b) {
    return a.popularity > b.popularity;
  });
}

}  // namespace

LayerUnits OneExpertPerProgram(const PlanningProblem& problem, size_t layer,
                               const std::vector<int64_t>& capacities) {
  const std::optional<GraphForm> form = SingleForm(problem.costs);
  LayerUnits units;
  if (!form) return units;
  for (const int expert : RankedExperts(problem, layer, capacities)) {
    const int64_t capacity = capacities[static_cast<size_t>(expert)];
    units.push_back(MakeUnit(problem, layer, {*form, {{expert, capacity}}}));
  }
  return units;
}

LayerUnits GroupsOfEqualCapacity(const PlanningProblem& problem, size_t layer,
                                 const std::vector<int64_t>& capacities) {
  const std::optional<GraphForm> form = GroupForm(problem.costs);
  LayerUnits units;
  if (!form) return units;
  const auto most = static_cast<size_t>(ExpertsPerProgram(problem.costs, *form));
  std::map<int64_t, PlannedProgram> open;  // by capacity: the group being filled
  for (const int expert : RankedExperts(problem, layer, capacities)) {
    const int64_t capacity = capacities[static_cast<size_t>(expert)];
    PlannedProgram& group = open[capacity];
    group.form = *form;
    group.experts.push_back({expert, capacity});
    if (group.experts.size() < most) continue;
    units.push_back(MakeUnit(problem, layer, std::move(group)));
    group = {};
  }
  for (auto& [capacity, group] : open) {
    if (!group.experts.empty()) units.push_back(MakeUnit(problem, layer, std::move(group)));
  }
  SortByPopularity(units);
  return units;
}

void AddSharedUnit(const PlanningProblem& problem, size_t layer, LayerUnits& units) {
  const SharedExpert& shared = problem.shared;
  if (!shared.MayReside(layer)) return;
  const double tokens = problem.chunk_tokens;
  units.push_back({layer, shared.Program(), tokens, tokens,
                   shared.on_cpu.cpu_ms - shared.on_npu.npu_ms, shared.weight_bytes});
  SortByPopularity(units);
}

bool ProgramBudget::Take(const ProgramUnit& unit) {
  if (programs < 1 || weight_bytes < unit.weight_bytes) return false;
  --programs;
  weight_bytes -= unit.weight_bytes;
  return true;
}

TakenUnits TakeInTurns(const std::vector<LayerUnits>& layers, ProgramBudget& budget) {
  TakenUnits result;
  size_t longest = 0;
  for (const LayerUnits& units : layers) longest = std::max(longest, units.size());
  for (size_t turn = 0; turn < longest; ++turn) {
    for (const LayerUnits& units : layers) {
      if (turn >= units.size()) continue;
      if (budget.Take(units[turn])) {
        result.taken.push_back(units[turn]);
      } else {
        ++result.left_out;
      }
    }
  }
  return result;
}

}  // namespace npumoe
