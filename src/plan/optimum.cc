#include "plan/optimum.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "plan/capacity.h"
#include "plan/layer_optimum.h"
#include "plan/predict.h"
#include "plan/program_budget.h"
#include "plan/program_limits.h"

namespace npumoe {
namespace {

// Rewards per NPU row, in units of the score (ms or J; a row of an expert costs 1e-4 to 1e-1).
// The largest outweighs every cost: as many rows go to the NPU as limits allow.
constexpr double kFirstReward = 1e-5;
constexpr double kRewardStep = 8;
constexpr double kDecisiveReward = 1e4;
constexpr int kBisections = 7;

// A whole-model solution: levels per layer and the programs each layer may use, the shared
// expert's included.
struct Solution {
  std::vector<LayerSolution> layers;
  std::vector<int> programs;
};

// The cheaper of both places of the shared expert for every number of programs.
std::vector<LayerSolution> BetterPlaces(const std::vector<LayerSolution>& on_cpu,
                                        const std::vector<LayerSolution>& on_npu) {
  std::vector<LayerSolution> best = on_cpu;
  for (size_t p = 0; p < on_npu.size(); ++p) {  // one program more: its own
    if (p + 1 == best.size()) best.push_back(best.back());
    if (on_npu[p].score >= best[p + 1].score) continue;
    best[p + 1] = on_npu[p];
    best[p + 1].shared_place = SharedPlace::kNpu;
  }
  return best;
}

class Optimizer {
 public:
  explicit Optimizer(const PlanningProblem& problem) : problem_(problem) {
    const ChipProfile& profile = problem.costs.profile();
    form_ = SingleForm(problem.costs);
    if (form_) per_program_ = ExpertsPerProgram(problem.costs, *form_);
    if (form_ != GraphForm::kDenseChains) per_program_ = std::min(per_program_, 1);
    budget_ = profile.limits.max_programs;
    expert_bytes_ = problem.costs.ExpertProgramBytes(0);
    most_bytes_ = ProgramMemoryBytes(profile);
    for (const LayerLoads& loads : problem.samples) {
      layers_.emplace_back(problem.row_costs, loads, per_program_);
    }
  }

  // The relaxed optimum for a reward: sweep and program budget, no local search.
  Solution Sweep(double reward, std::span<const double> multipliers) const {
    std::vector<std::vector<LayerSolution>> candidates;
    std::vector<std::vector<double>> curves;
    for (size_t l = 0; l < layers_.size(); ++l) {
      candidates.push_back(SweepLayer(l, reward, multipliers));
      std::vector<double>& curve = curves.emplace_back();
      for (const LayerSolution& candidate : candidates.back()) curve.push_back(candidate.score);
    }
    Solution solution = Choose(candidates, ShareOutPrograms(curves, budget_));
    while (!FitsMemory(solution)) {
      const int used = std::accumulate(solution.programs.begin(), solution.programs.end(), 0);
      solution = Choose(candidates, ShareOutPrograms(curves, used - 1));
    }
    return solution;
  }

  // The same, every layer improved by local search.
  Solution Improve(const Solution& swept, double reward,
                   const std::vector<std::vector<LayerPlan>>& starts) const {
    Solution solution = swept;
    for (size_t l = 0; l < layers_.size(); ++l) {
      std::vector<LayerSolution> from = {solution.layers[l]};
      for (const std::vector<LayerPlan>& start : starts) AddStart(start[l], l, solution, from);
      const SharedPlace place = from.front().shared_place;
      solution.layers[l] =
          SolveLayer(layers_[l], Weights(reward, place), RoutedPrograms(solution, l), from);
      solution.layers[l].shared_place = place;
    }
    return FitsMemory(solution) ? solution : swept;
  }

  std::vector<LayerPlan> Packed(const Solution& solution) const {
    std::vector<LayerPlan> plans;
    for (size_t l = 0; l < layers_.size(); ++l) {
      plans.push_back(PackLayer(problem_.model_layers[l], solution.layers[l]));
      if (solution.layers[l].shared_place == SharedPlace::kNpu) {
        plans.back().programs.push_back(problem_.shared.Program());
      }
    }
    return plans;
  }

  double Share(const Solution& solution) const {
    Plan plan;
    plan.layers = Packed(solution);
    return NpuShare(CountCalibrated(plan, problem_.all_loads));
  }

  // Residents take the largest load of the calibration, so that the share is what residency
  // alone allows.
  void Cover(Solution& solution) const {
    for (size_t l = 0; l < layers_.size(); ++l) {
      for (int expert = 0; expert < layers_[l].experts(); ++expert) {
        int& level = solution.layers[l].levels[static_cast<size_t>(expert)];
        if (level > 0) level = layers_[l].MaxLevel(expert);
      }
    }
  }

 private:
  static Solution Choose(const std::vector<std::vector<LayerSolution>>& candidates,
                         std::vector<int> programs) {
    Solution solution;
    for (size_t l = 0; l < candidates.size(); ++l) {
      solution.layers.push_back(candidates[l][static_cast<size_t>(programs[l])]);
    }
    solution.programs = std::move(programs);
    return solution;
  }

  std::vector<LayerSolution> SweepLayer(size_t l, double reward,
                                        std::span<const double> multipliers) const {
    const auto sweep = [&](SharedPlace place) {
      const int64_t budget = budget_ - (place == SharedPlace::kNpu ? 1 : 0);
      return SweepMultiplier(layers_[l], Weights(reward, place), MostPrograms(layers_[l], budget),
                             multipliers);
    };
    const std::vector<LayerSolution> on_cpu = sweep(SharedPlace::kCpu);
    if (!problem_.shared.MayReside(l) || budget_ == 0) return on_cpu;
    return BetterPlaces(on_cpu, sweep(SharedPlace::kNpu));
  }

  bool FitsMemory(const Solution& solution) const {
    int64_t bytes = 0;
    for (const LayerSolution& layer : solution.layers) {
      bytes += expert_bytes_ * std::count_if(layer.levels.begin(), layer.levels.end(),
                                             [](int level) { return level > 0; });
      if (layer.shared_place == SharedPlace::kNpu) bytes += problem_.shared.weight_bytes;
    }
    return bytes <= most_bytes_;
  }

  ScoreWeights Weights(double reward, SharedPlace place) const {
    ScoreWeights weights = problem_.weights;
    weights.row_reward = reward;
    weights.fixed = place == SharedPlace::kNpu ? problem_.shared.on_npu : problem_.shared.on_cpu;
    return weights;
  }

  static int RoutedPrograms(const Solution& solution, size_t l) {
    return solution.programs[l] - (solution.layers[l].shared_place == SharedPlace::kNpu ? 1 : 0);
  }

  int MostPrograms(const LayerProblem& layer, int64_t budget) const {
    int residents = 0;
    for (int expert = 0; expert < layer.experts(); ++expert)
      residents += layer.MaxLevel(expert) > 0;
    if (per_program_ == 0) return 0;
    return static_cast<int>(std::min<int64_t>(layer.Programs(residents), budget));
  }

  void AddStart(const LayerPlan& plan, size_t l, const Solution& solution,
                std::vector<LayerSolution>& from) const {
    const LayerProblem& layer = layers_[l];
    LayerSolution start;
    start.levels.assign(static_cast<size_t>(layer.experts()), 0);
    int residents = 0;
    for (const PlannedProgram& program : plan.programs) {
      for (const PlannedExpert& expert : program.experts) {
        if (expert.expert == problem_.shared.expert) continue;  // its place is decided
        const int level = std::min(static_cast<int>(expert.capacity / problem_.row_costs.quantum),
                                   layer.MaxLevel(expert.expert));
        start.levels[static_cast<size_t>(expert.expert)] = level;
        residents += level > 0;
      }
    }
    if (residents == 0 || layer.Programs(residents) > RoutedPrograms(solution, l)) return;
    const ScoreWeights weights = Weights(0, from.front().shared_place);
    start.score = LayerScore(layer, weights, start.levels).Score();
    if (start.score < from.front().score) from.push_back(std::move(start));
  }

  // Residents by capacity, largest first, in programs of nearly equal counts: the cold ones share
  // a program, which is not launched for a chunk that asks for none of them.
  LayerPlan PackLayer(int model_layer, const LayerSolution& solution) const {
    std::vector<PlannedExpert> residents;
    for (size_t e = 0; e < solution.levels.size(); ++e) {
      const int64_t capacity = solution.levels[e] * problem_.row_costs.quantum;
      if (capacity > 0) residents.push_back({static_cast<int>(e), capacity});
    }
    std::stable_sort(residents.begin(), residents.end(),
                     [](const auto& a, const auto& b) { return a.capacity > b.capacity; });
    LayerPlan plan{model_layer, {}};
    if (residents.empty()) return plan;
    const size_t most = static_cast<size_t>(per_program_);
    const size_t programs = (residents.size() + most - 1) / most;
    for (size_t p = 0; p < programs; ++p) {
      const auto begin =
          residents.begin() + static_cast<ptrdiff_t>(p * residents.size() / programs);
      const auto end =
          residents.begin() + static_cast<ptrdiff_t>((p + 1) * residents.size() / programs);
      plan.programs.push_back({*form_, {begin, end}});
    }
    return plan;
  }

  const PlanningProblem& problem_;
  std::optional<GraphForm> form_;
  int per_program_ = 0;
  int64_t budget_ = 0;
  int64_t expert_bytes_ = 0;
  int64_t most_bytes_ = 0;
  std::vector<LayerProblem> layers_;
};

// The smallest reward per NPU row, about, with which the sweep reaches the wanted share.
double RewardFor(const Optimizer& optimizer, double share) {
  const auto reaches = [&](double reward) {
    return optimizer.Share(optimizer.Sweep(reward, CoarseMultipliers())) >= share;
  };
  double low = 0;
  double high = kFirstReward;
  while (high < kDecisiveReward && !reaches(high)) {
    low = high;
    high *= kRewardStep;
  }
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (low + high) / 2;
    (reaches(middle) ? high : low) = middle;
  }
  return high;
}

// What a reward buys: with the local search where that keeps the share, else without.
Solution SolveForShare(const Optimizer& optimizer, double share) {
  const double reward = RewardFor(optimizer, share);
  Solution swept = optimizer.Sweep(reward, PlannerMultipliers());
  if (optimizer.Share(swept) < share) swept = optimizer.Sweep(reward, CoarseMultipliers());
  const Solution improved = optimizer.Improve(swept, reward, {});
  return optimizer.Share(improved) >= share ? improved : swept;
}

}  // namespace

StrategyPlan PlanOptimum(const PlanningProblem& problem,
                         const std::vector<std::vector<LayerPlan>>& starts) {
  const Optimizer optimizer(problem);
  const double wanted = problem.options.min_npu_share;
  const Solution unbound = optimizer.Improve(optimizer.Sweep(0, PlannerMultipliers()), 0, starts);
  if (optimizer.Share(unbound) >= wanted) return {optimizer.Packed(unbound), {}};
  Solution most = optimizer.Sweep(kDecisiveReward, CoarseMultipliers());
  if (optimizer.Share(most) >= wanted) {
    return {optimizer.Packed(SolveForShare(optimizer, wanted)), {}};
  }
  optimizer.Cover(most);
  return {optimizer.Packed(most), {}};
}

}  // namespace npumoe
