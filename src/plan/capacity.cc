#include "plan/capacity.h"

#include <algorithm>
#include <array>

namespace npumoe {
namespace {

// Chosen: dense where the newsvendor quantile 1 - lambda / (1 - lambda) * dn/ds moves fast.
constexpr std::array<double, 19> kMultipliers = {0.01, 0.03, 0.06, 0.1,  0.15, 0.2,  0.25,
                                                 0.3,  0.35, 0.4,  0.45, 0.5,  0.55, 0.6,
                                                 0.67, 0.75, 0.83, 0.9,  0.97};

constexpr std::array<double, 6> kCoarseMultipliers = {0.03, 0.15, 0.3, 0.45, 0.6, 0.83};

struct ExpertChoice {
  int expert = 0;
  int level = 0;
  double gain = 0;  // against level 0
};

// Weights of the separable problem: the score's, with max(N, S) replaced by its relaxation.
struct RelaxedWeights {
  double npu_ms;
  double npu_j;
  double cpu_ms;
  double filled;
};

RelaxedWeights Relax(const RowCosts& costs, const ScoreWeights& weights, double multiplier) {
  const double spare = 1 - multiplier;
  const double dispatch_ms =
      weights.elapsed * (weights.overlapped * spare + 1 - weights.overlapped) + weights.cpu_busy;
  return {weights.elapsed * multiplier, weights.npu_energy,
          weights.elapsed * spare + weights.cpu_busy,
          dispatch_ms * costs.dispatch_ms_per_row - weights.row_reward};
}

ExpertChoice ChooseLevel(const LayerProblem& problem, const RelaxedWeights& weights, int expert) {
  const RowCosts& costs = problem.costs();
  const auto cost = [&](int level) {
    const auto index = static_cast<size_t>(level);
    return weights.npu_ms * costs.npu_ms[index] + weights.npu_j * costs.npu_j[index] +
           weights.cpu_ms * problem.MeanCpuMs(expert, level) +
           weights.filled * problem.MeanFilled(expert, level);
  };
  ExpertChoice choice{expert, 0, 0};
  const double on_cpu = cost(0);
  for (int level = 1; level <= problem.MaxLevel(expert); ++level) {
    const double gain = on_cpu - cost(level);
    if (choice.level == 0 || gain > choice.gain) choice = {expert, level, gain};
  }
  return choice;
}

// Experts worth a place on the NPU, the most gainful first.
std::vector<ExpertChoice> RankExperts(const LayerProblem& problem, const ScoreWeights& weights,
                                      double multiplier) {
  const RelaxedWeights relaxed = Relax(problem.costs(), weights, multiplier);
  std::vector<ExpertChoice> choices;
  for (int expert = 0; expert < problem.experts(); ++expert) {
    const ExpertChoice choice = ChooseLevel(problem, relaxed, expert);
    if (choice.level > 0 && choice.gain > 0) choices.push_back(choice);
  }
  std::stable_sort(choices.begin(), choices.end(),
                   [](const auto& a, const auto& b) { return a.gain > b.gain; });
  return choices;
}

// Calls visit(programs, score) for every candidate; `score` is a LayerScore.
template <class Visit>
void VisitCandidates(const LayerProblem& problem, const ScoreWeights& weights, int max_programs,
                     std::span<const double> multipliers, Visit visit) {
  const std::vector<int> on_cpu(static_cast<size_t>(problem.experts()), 0);
  const LayerScore nothing(problem, weights, on_cpu);
  visit(0, nothing);
  const auto places = static_cast<size_t>(problem.experts_per_program());
  for (const double multiplier : multipliers) {
    const std::vector<ExpertChoice> ranked = RankExperts(problem, weights, multiplier);
    LayerScore score = nothing;
    size_t taken = 0;
    for (int programs = 1; programs <= max_programs && taken < ranked.size(); ++programs) {
      const size_t room = std::min(ranked.size(), static_cast<size_t>(programs) * places);
      for (; taken < room; ++taken) score.Apply({ranked[taken].expert, ranked[taken].level});
      visit(programs, score);
    }
  }
}

}  // namespace

std::span<const double> PlannerMultipliers() { return kMultipliers; }
std::span<const double> CoarseMultipliers() { return kCoarseMultipliers; }

std::vector<LayerSolution> SweepMultiplier(const LayerProblem& problem, const ScoreWeights& weights,
                                           int max_programs, std::span<const double> multipliers) {
  std::vector<LayerSolution> best(static_cast<size_t>(max_programs) + 1);
  VisitCandidates(problem, weights, max_programs, multipliers,
                  [&](int programs, const LayerScore& score) {
                    LayerSolution& slot = best[static_cast<size_t>(programs)];
                    if (slot.levels.empty() || score.Score() < slot.score) slot = score.Solution();
                  });
  for (size_t p = 1; p < best.size(); ++p) {
    if (best[p].levels.empty() || best[p - 1].score < best[p].score) best[p] = best[p - 1];
  }
  return best;
}

std::vector<LayerSolution> SweepCandidates(const LayerProblem& problem, const ScoreWeights& weights,
                                           int max_programs, std::span<const double> multipliers) {
  std::vector<LayerSolution> all;
  VisitCandidates(problem, weights, max_programs, multipliers,
                  [&](int, const LayerScore& score) { all.push_back(score.Solution()); });
  std::sort(all.begin(), all.end(), [](const LayerSolution& a, const LayerSolution& b) {
    return a.score != b.score ? a.score < b.score : a.levels < b.levels;
  });
  all.erase(std::unique(all.begin(), all.end(),
                        [](const auto& a, const auto& b) { return a.levels == b.levels; }),
            all.end());
  return all;
}

}  // namespace npumoe
