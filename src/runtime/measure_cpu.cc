#include "runtime/measure_cpu.h"

#include <fmt/format.h>

#include <new>

#include "base/clock.h"
#include "runtime/copy_ring.h"
#include "runtime/expert_ring.h"
#include "runtime/repeated_times.h"

namespace npumoe {
namespace {

constexpr int kLeastRepetitions = 3;

class CpuRounds {
 public:
  CpuRounds(const ExpertShape& shape, DType dtype, int64_t memory_bytes, ThreadPool& pool)
      : ring_(shape, dtype, memory_bytes), copies_(shape.hidden, memory_bytes / 2), pool_(pool) {
    for (int64_t rows = 1; rows <= ExpertRing::kRowsPerCall; rows *= 2) {
      rows_.push_back(rows);
      result_.experts.push_back(ring_.WorkOf(rows));
    }
    result_.copies = copies_.Works();
    expert_times_.resize(rows_.size());
  }

  CpuTimes Run(const MeasureLimits& limits, const MeasureProgress& progress) {
    Stopwatch watch;
    for (int r = -1; r < limits.repetitions; ++r) {  // the first is a warm-up
      if (r >= kLeastRepetitions && watch.ElapsedMs() > limits.budget_ms) break;
      Round(r >= 0);
      if (progress) progress(r + 2, limits.repetitions + 1);
    }
    for (size_t i = 0; i < rows_.size(); ++i) SetTime(expert_times_[i], result_.experts[i]);
    SetTime(gather_times_, result_.copies.gather);
    SetTime(combine_times_, result_.copies.combine);
    SetTime(row_times_, result_.copies.rows);
    return std::move(result_);
  }

 private:
  void Round(bool kept) {
    for (size_t i = 0; i < rows_.size(); ++i) {
      const double ms = ring_.MeasureMs(rows_[i], ExpertRing::ExpertsOf(rows_[i]), pool_);
      if (kept) expert_times_[i].Add(ms);
    }
    const double gather_ms = copies_.GatherMs(pool_);
    const double combine_ms = copies_.CombineMs(pool_);
    const double rows_ms = copies_.RowsMs(pool_);
    if (!kept) return;
    gather_times_.Add(gather_ms);
    combine_times_.Add(combine_ms);
    row_times_.Add(rows_ms);
  }

  static void SetTime(const RepeatedTimes& times, TimedWork& work) {
    work.time_ms = times.Median();
    work.spread = times.Spread();
  }

  ExpertRing ring_;
  CopyRing copies_;
  ThreadPool& pool_;
  std::vector<int64_t> rows_;
  std::vector<RepeatedTimes> expert_times_;
  RepeatedTimes gather_times_, combine_times_, row_times_;
  CpuTimes result_;
};

}  // namespace

Result<CpuTimes> MeasureCpu(const ExpertShape& shape, DType weights, int64_t memory_bytes,
                            ThreadPool& pool, const MeasureLimits& limits,
                            const MeasureProgress& progress) {
  try {
    return CpuRounds(shape, weights, memory_bytes, pool).Run(limits, progress);
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(fmt::format(
        "no memory for experts of {} bytes, which the CPU is measured with", memory_bytes));
  }
}

}  // namespace npumoe
