#include "plan/layer_score.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/checked_math.h"

namespace npumoe {

RowCosts TabulateRowCosts(const CostModel& costs, int64_t chunk_tokens) {
  RowCosts table;
  table.quantum = costs.profile().limits.capacity_quantum;
  const LaunchCost empty = costs.LaunchAtCapacity({});
  table.launch_ms = empty.overhead_ms;
  table.launch_j = empty.energy_j;
  table.dispatch_ms_per_row = costs.DispatchMs(1);
  table.spot_check_ms = costs.SpotCheckMs(0);
  table.overlap = OverlapOf(costs.profile());
  for (int64_t level = 0; level <= DivideRoundUp(chunk_tokens, table.quantum); ++level) {
    const int64_t capacity = level * table.quantum;
    const LaunchCost one = costs.LaunchAtCapacity({GraphForm::kDenseChains, {{0, capacity}}});
    table.npu_ms.push_back(costs.NpuExpertMs(capacity));
    table.npu_j.push_back(level == 0 ? 0 : one.energy_j - empty.energy_j);
  }
  for (int64_t rows = 0; rows <= chunk_tokens; ++rows) {
    table.cpu_ms.push_back(costs.CpuExpertMs(rows));
  }
  return table;
}

LayerProblem::LayerProblem(const RowCosts& costs, const LayerLoads& loads, int experts_per_program)
    : costs_(&costs),
      samples_(loads.samples),
      stride_(RoundUp(static_cast<size_t>(loads.samples), LayerScore::kLanes)),
      experts_per_program_(experts_per_program) {
  NPUMOE_CHECK(loads.samples > 0);
  first_.push_back(0);
  for (int expert = 0; expert < loads.experts; ++expert) Tabulate(loads, expert);
}

void LayerProblem::Tabulate(const LayerLoads& loads, int expert) {
  const std::span<const int32_t> x = loads.Of(expert);
  const bool may_reside = loads.eligible[static_cast<size_t>(expert)] && experts_per_program_ > 0;
  const int64_t largest = may_reside ? *std::max_element(x.begin(), x.end()) : 0;
  const int64_t levels = DivideRoundUp(largest, costs_->quantum);
  for (int64_t level = 0; level <= levels; ++level) {
    const int64_t capacity = level * costs_->quantum;
    double cpu_sum = 0;
    int64_t filled_sum = 0;
    for (const int32_t load : x) {
      const int64_t filled = std::min<int64_t>(load, capacity);
      const double cpu_ms = costs_->cpu_ms[static_cast<size_t>(load - filled)];
      cpu_ms_.push_back(static_cast<float>(cpu_ms));
      filled_.push_back(static_cast<float>(filled));
      cpu_sum += cpu_ms;
      filled_sum += filled;
    }
    cpu_ms_.resize(cpu_ms_.size() + stride_ - x.size(), 0.0f);
    filled_.resize(cpu_ms_.size(), 0.0f);
    mean_cpu_ms_.push_back(cpu_sum / samples_);
    mean_filled_.push_back(static_cast<double>(filled_sum) / samples_);
  }
  first_.push_back(mean_cpu_ms_.size());
}

int LayerProblem::MaxLevel(int expert) const {
  const auto e = static_cast<size_t>(expert);
  return static_cast<int>(first_[e + 1] - first_[e]) - 1;
}

int LayerProblem::Programs(int residents) const {
  return residents == 0 ? 0 : DivideRoundUp(residents, experts_per_program_);
}

LayerScore::LayerScore(const LayerProblem& problem, const ScoreWeights& weights,
                       std::vector<int> levels)
    : problem_(&problem),
      weights_(weights),
      levels_(static_cast<size_t>(problem.experts()), 0),
      cpu_(problem.stride(), 0.0f),
      filled_(cpu_),
      zeros_(cpu_) {
  NPUMOE_CHECK(levels.size() == levels_.size());
  const FixedWork& fixed = weights.fixed;
  sums_ = {fixed.npu_ms, fixed.npu_j, fixed.cpu_ms, fixed.npu_rows, 0};
  for (size_t k = 0; k < static_cast<size_t>(problem.samples()); ++k) {
    cpu_[k] = static_cast<float>(fixed.cpu_ms);
    filled_[k] = static_cast<float>(fixed.npu_rows);
  }
  for (int expert = 0; expert < problem.experts(); ++expert) {
    sums_.mean_cpu_ms += problem.MeanCpuMs(expert, 0);
    const std::span<const float> cpu = problem.CpuMs(expert, 0);
    for (size_t k = 0; k < cpu.size(); ++k) cpu_[k] += cpu[k];
  }
  for (int expert = 0; expert < problem.experts(); ++expert) {
    Apply({expert, std::min(levels[static_cast<size_t>(expert)], problem.MaxLevel(expert))});
  }
}

double LayerScore::Score() const {
  const Rows none{zeros_.data(), zeros_.data(), zeros_.data(), zeros_.data()};
  return Evaluate(sums_, none, none);
}

LayerScore::Sums LayerScore::With(Sums sums, LevelChange change) const {
  const int expert = change.expert;
  const int before = levels_[static_cast<size_t>(expert)];
  const RowCosts& costs = problem_->costs();
  const auto from = static_cast<size_t>(before);
  const auto to = static_cast<size_t>(change.level);
  sums.npu_ms += costs.npu_ms[to] - costs.npu_ms[from];
  sums.npu_j += costs.npu_j[to] - costs.npu_j[from];
  sums.mean_cpu_ms +=
      problem_->MeanCpuMs(expert, change.level) - problem_->MeanCpuMs(expert, before);
  sums.mean_filled +=
      problem_->MeanFilled(expert, change.level) - problem_->MeanFilled(expert, before);
  sums.residents += (change.level > 0) - (before > 0);
  return sums;
}

LayerScore::Rows LayerScore::RowsOf(LevelChange change) const {
  const int before = levels_[static_cast<size_t>(change.expert)];
  return {problem_->CpuMs(change.expert, before).data(),
          problem_->CpuMs(change.expert, change.level).data(),
          problem_->FilledRows(change.expert, before).data(),
          problem_->FilledRows(change.expert, change.level).data()};
}

LayerScore::Waits LayerScore::SumWaits(float npu_ms, float cpu_base_ms, const Rows& a,
                                       const Rows& b) const {
  const auto per_row = static_cast<float>(problem_->costs().dispatch_ms_per_row);
  const Overlap& overlap = problem_->costs().overlap;
  Waits waits;
  for (size_t k = 0; k < cpu_.size(); k += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const size_t i = k + lane;
      const float cpu = cpu_[i] - a.cpu_old[i] + a.cpu_added[i] - b.cpu_old[i] + b.cpu_added[i];
      const float filled =
          filled_[i] - a.filled_old[i] + a.filled_added[i] - b.filled_old[i] + b.filled_added[i];
      waits.both[lane] += overlap.ElapsedMs(npu_ms, cpu_base_ms + per_row * filled + cpu);
      waits.cpu[lane] += overlap.ElapsedMs(npu_ms, cpu);
    }
  }
  return waits;
}

double LayerScore::Evaluate(const Sums& sums, const Rows& a, const Rows& b) const {
  const RowCosts& costs = problem_->costs();
  const int programs = problem_->Programs(sums.residents);
  const double npu_ms = sums.npu_ms + programs * costs.launch_ms;
  const double cpu_base_ms = weights_.cpu_base_ms + programs * costs.spot_check_ms;
  const Waits waits = SumWaits(static_cast<float>(npu_ms), static_cast<float>(cpu_base_ms), a, b);
  // What the padding behind the samples has added is taken off again.
  const double samples = problem_->samples();
  const double padding = static_cast<double>(problem_->stride()) - samples;
  const double both_sum = std::accumulate(waits.both, waits.both + kLanes, 0.0) -
                          padding * costs.overlap.ElapsedMs(npu_ms, cpu_base_ms);
  const double cpu_sum = std::accumulate(waits.cpu, waits.cpu + kLanes, 0.0) - padding * npu_ms;
  const double dispatch_ms = costs.dispatch_ms_per_row * sums.mean_filled;
  const double serial_ms = cpu_base_ms + dispatch_ms + cpu_sum / samples;
  const double elapsed_ms =
      weights_.overlapped * both_sum / samples + (1 - weights_.overlapped) * serial_ms;
  const double busy_ms = cpu_base_ms + dispatch_ms + sums.mean_cpu_ms;
  return weights_.elapsed * elapsed_ms + weights_.cpu_busy * busy_ms +
         weights_.npu_energy * (sums.npu_j + programs * costs.launch_j) -
         weights_.row_reward * sums.mean_filled;
}

double LayerScore::ScoreWith(LevelChange a) const {
  const Rows none{zeros_.data(), zeros_.data(), zeros_.data(), zeros_.data()};
  return Evaluate(With(sums_, a), RowsOf(a), none);
}

double LayerScore::ScoreWith(LevelChange a, LevelChange b) const {
  NPUMOE_CHECK(a.expert != b.expert);
  return Evaluate(With(With(sums_, a), b), RowsOf(a), RowsOf(b));
}

void LayerScore::Apply(LevelChange change) {
  if (levels_[static_cast<size_t>(change.expert)] == change.level) return;
  const Rows rows = RowsOf(change);
  sums_ = With(sums_, change);
  for (size_t k = 0; k < cpu_.size(); ++k) {
    cpu_[k] += rows.cpu_added[k] - rows.cpu_old[k];
    filled_[k] += rows.filled_added[k] - rows.filled_old[k];
  }
  levels_[static_cast<size_t>(change.expert)] = change.level;
}

}  // namespace npumoe
