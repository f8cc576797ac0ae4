#include "plan/exact_search.h"

#include <algorithm>

#include "base/check.h"

namespace npumoe {
namespace {

constexpr int kMaxExperts = 8;

// Experts are decided in order. Those not decided yet count as costing nothing anywhere: a bound
// from below, since every cost of a decided expert is there to stay.
class BranchAndBound {
 public:
  BranchAndBound(const LayerProblem& problem, const ScoreWeights& weights, int max_programs)
      : problem_(problem),
        weights_(weights),
        places_(max_programs * problem.experts_per_program()),
        levels_(static_cast<size_t>(problem.experts()), 0) {}

  LayerSolution Run() {
    best_ = LayerScore(problem_, weights_, levels_).Solution();
    const FixedWork& fixed = weights_.fixed;
    Partial empty;
    empty.npu_ms = fixed.npu_ms;
    empty.npu_j = fixed.npu_j;
    empty.cpu.assign(static_cast<size_t>(problem_.samples()), fixed.cpu_ms);
    empty.filled.assign(empty.cpu.size(), fixed.npu_rows);
    Decide(0, empty);
    return best_;
  }

 private:
  struct Partial {
    double npu_ms = 0;
    double npu_j = 0;
    int residents = 0;
    std::vector<double> cpu;     // [samples]
    std::vector<double> filled;  // [samples]
  };

  Partial With(const Partial& before, int expert, int level) const {
    Partial after = before;
    after.npu_ms += problem_.costs().npu_ms[static_cast<size_t>(level)];
    after.npu_j += problem_.costs().npu_j[static_cast<size_t>(level)];
    after.residents += level > 0;
    const std::span<const float> cpu = problem_.CpuMs(expert, level);
    const std::span<const float> filled = problem_.FilledRows(expert, level);
    for (size_t k = 0; k < cpu.size(); ++k) {
      after.cpu[k] += static_cast<double>(cpu[k]);
      after.filled[k] += static_cast<double>(filled[k]);
    }
    return after;
  }

  // The formula of layer_score.h written out plainly, apart from the incremental one.
  double Cost(const Partial& partial) const {
    const RowCosts& costs = problem_.costs();
    const int programs = problem_.Programs(partial.residents);
    const double npu_ms = partial.npu_ms + programs * costs.launch_ms;
    double sum = 0;
    for (size_t k = 0; k < partial.cpu.size(); ++k) {
      const double cpu = partial.cpu[k];
      const double other = weights_.cpu_base_ms + programs * costs.spot_check_ms +
                           costs.dispatch_ms_per_row * partial.filled[k];
      const double both = costs.overlap.ElapsedMs(npu_ms, other + cpu);
      const double serial = other + costs.overlap.ElapsedMs(npu_ms, cpu);
      sum += weights_.elapsed * (weights_.overlapped * both + (1 - weights_.overlapped) * serial);
      sum += weights_.cpu_busy * (other + cpu) - weights_.row_reward * partial.filled[k];
    }
    return sum / problem_.samples() +
           weights_.npu_energy * (partial.npu_j + programs * costs.launch_j);
  }

  void Decide(int expert, const Partial& partial) {
    const double cost = Cost(partial);
    if (expert == problem_.experts()) {
      if (cost < best_.score) best_ = {levels_, cost, SharedPlace::kCpu};
      return;
    }
    if (cost >= best_.score) return;
    for (int level = 0; level <= problem_.MaxLevel(expert); ++level) {
      if (level > 0 && partial.residents >= places_) break;
      levels_[static_cast<size_t>(expert)] = level;
      Decide(expert + 1, With(partial, expert, level));
    }
    levels_[static_cast<size_t>(expert)] = 0;
  }

  const LayerProblem& problem_;
  ScoreWeights weights_;
  int places_;
  std::vector<int> levels_;
  LayerSolution best_;
};

}  // namespace

LayerSolution ExactSearch(const LayerProblem& problem, const ScoreWeights& weights,
                          int max_programs) {
  NPUMOE_CHECK(problem.experts() <= kMaxExperts);
  NPUMOE_CHECK(weights.row_reward == 0);  // the bound needs costs that only grow
  return BranchAndBound(problem, weights, max_programs).Run();
}

}  // namespace npumoe
