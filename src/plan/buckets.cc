#include "plan/buckets.h"

#include <algorithm>

#include "base/checked_math.h"

namespace npumoe {
namespace {

// A bucket must save so much of the launches' mean cost. Chosen: below that it is not worth a
// loaded program.
constexpr double kSmallestSaving = 0.005;

struct Candidate {
  size_t layer = 0;    // index in the plan
  size_t program = 0;  // index in the layer
  std::vector<int64_t> capacities;
  double saving_ms = 0;  // per prompt
};

// Shares of the planned capacity to try: halves, and what a partial last chunk needs, with room for
// loads above the mean.
std::vector<double> SharesToTry(const PlanningProblem& problem, int most) {
  std::vector<double> shares;
  double share = 1;
  for (int i = 1; i < most; ++i) shares.push_back(share /= 2);
  if (problem.partial_tokens > 0) {
    const double partial = static_cast<double>(problem.partial_tokens) / problem.chunk_tokens;
    for (const double room : {1.0, 1.5, 2.0, 3.0}) {
      if (partial * room < 1) shares.push_back(partial * room);
    }
  }
  return shares;
}

std::vector<int64_t> Scaled(const PlannedProgram& program, double share, int64_t quantum) {
  std::vector<int64_t> capacities;
  for (const PlannedExpert& expert : program.experts) {
    const auto rows = static_cast<int64_t>(static_cast<double>(expert.capacity) * share + 0.5);
    capacities.push_back(std::min(expert.capacity, RoundUp(std::max<int64_t>(rows, 1), quantum)));
  }
  return capacities;
}

// Prices the launches of one program over the calibrated chunks and the partial last one.
class LaunchPrices {
 public:
  LaunchPrices(const PlanningProblem& problem, size_t layer, const PlannedProgram& program)
      : problem_(problem), layer_(layer), program_(program) {}

  // Mean cost of one prompt's launches with these buckets, the planned capacities last.
  double PromptMs(const std::vector<std::vector<int64_t>>& buckets) const {
    std::vector<double> cost_ms;
    for (const auto& bucket : buckets) {
      cost_ms.push_back(problem_.costs.Launch(program_, bucket, bucket).total_ms());
    }
    const int64_t tokens = problem_.options.prompt_tokens;
    double sum_ms = static_cast<double>(tokens / problem_.chunk_tokens) *
                    MeanMs(problem_.all_loads, 1, buckets, cost_ms);
    const ChunkLoads& partial = problem_.all_partial_loads;
    if (problem_.partial_tokens > 0 && partial.chunks > 0) {
      const double scale = static_cast<double>(problem_.partial_tokens) / partial.chunk_tokens;
      sum_ms += MeanMs(partial, scale, buckets, cost_ms);
    }
    return sum_ms;
  }

 private:
  double MeanMs(const ChunkLoads& loads, double scale,
                const std::vector<std::vector<int64_t>>& buckets,
                const std::vector<double>& cost_ms) const {
    if (loads.chunks == 0) return 0;
    double sum_ms = 0;
    for (int64_t chunk = 0; chunk < loads.chunks; ++chunk) {
      const auto first = static_cast<size_t>(chunk * loads.num_experts);
      sum_ms += cost_ms[SmallestBucket(buckets, [&](size_t i) {
        const auto expert = static_cast<size_t>(program_.experts[i].expert);
        const auto rows = static_cast<int64_t>(scale * loads.layers[layer_][first + expert] + 0.5);
        return std::min(rows, program_.experts[i].capacity);
      })];
    }
    return sum_ms / static_cast<double>(loads.chunks);
  }

  const PlanningProblem& problem_;
  size_t layer_;
  const PlannedProgram& program_;
};

// The bucket of one program that saves most, or a saving of 0.
Candidate BestBucket(const PlanningProblem& problem, const Plan& plan, size_t layer, size_t index,
                     int most) {
  const PlannedProgram& program = plan.layers[layer].programs[index];
  const LaunchPrices prices(problem, layer, program);
  const double now_ms = prices.PromptMs(program.Buckets());
  Candidate best{layer, index, {}, 0};
  for (const double share : SharesToTry(problem, most)) {
    const std::vector<int64_t> capacities = Scaled(program, share, problem.row_costs.quantum);
    PlannedProgram with = program;
    with.smaller_buckets.push_back(capacities);
    std::sort(with.smaller_buckets.begin(), with.smaller_buckets.end());
    const double saving_ms = now_ms - prices.PromptMs(with.Buckets());
    if (saving_ms > best.saving_ms && saving_ms > kSmallestSaving * now_ms) {
      best.capacities = capacities;
      best.saving_ms = saving_ms;
    }
  }
  return best;
}

std::vector<Candidate> Candidates(const PlanningProblem& problem, const Plan& plan, int most) {
  std::vector<Candidate> candidates;
  for (size_t l = 0; l < plan.layers.size(); ++l) {
    for (size_t p = 0; p < plan.layers[l].programs.size(); ++p) {
      if (plan.layers[l].programs[p].FunctionCount() >= most) continue;
      Candidate candidate = BestBucket(problem, plan, l, p, most);
      if (candidate.saving_ms > 0) candidates.push_back(std::move(candidate));
    }
  }
  std::stable_sort(
      candidates.begin(), candidates.end(),
      [](const Candidate& a, const Candidate& b) { return a.saving_ms > b.saving_ms; });
  return candidates;
}

}  // namespace

void AddBuckets(Plan& plan, const PlanningProblem& problem, int most) {
  for (int round = 1; round < most; ++round) {
    int64_t budget = problem.costs.profile().limits.max_programs - plan.FunctionCount();
    for (Candidate& candidate : Candidates(problem, plan, most)) {
      if (budget-- <= 0) return;
      auto& buckets = plan.layers[candidate.layer].programs[candidate.program].smaller_buckets;
      buckets.push_back(std::move(candidate.capacities));
      std::sort(buckets.begin(), buckets.end());
    }
  }
}

}  // namespace npumoe
