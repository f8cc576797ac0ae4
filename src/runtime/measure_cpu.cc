#include "runtime/measure_cpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <random>

#include "base/aligned_buffer.h"
#include "base/clock.h"
#include "kernels/dispatch/dispatch.h"
#include "plan/cost_model.h"
#include "runtime/expert_ring.h"
#include "runtime/repeated_times.h"

namespace npumoe {
namespace {

constexpr int kLeastRepetitions = 3;
constexpr int kChoices = 8;    // of a token, Qwen3-30B-A3B
constexpr int kExperts = 128;  // that they choose from
constexpr int64_t kTokens = 512;

AlignedBuffer<float> Numbers(int64_t count) {
  AlignedBuffer<float> numbers(static_cast<size_t>(count));
  std::mt19937 random(1);
  for (float& value : numbers.span()) value = static_cast<float>(random() % 255) / 128 - 1;
  return numbers;
}

// Gather and combine of a chunk whose tokens choose experts at random.
class Copies {
 public:
  explicit Copies(int64_t hidden)
      : hidden_size_(hidden),
        tokens_(Numbers(kTokens * hidden)),
        rows_(Numbers(kTokens * kChoices * hidden)),
        halves_(static_cast<size_t>(kTokens * kChoices * hidden)),
        weights_(kTokens * kChoices, 0.125f) {
    std::mt19937 random(2);
    std::vector<int32_t> ids(kTokens * kChoices);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % kExperts);
    BuildExpertLists(ids, kChoices, kExperts, lists_);
    for (const auto layout : {OutputRow::Layout::kF16Column, OutputRow::Layout::kF32Row}) {
      PlaceOutputs(layout, layout == OutputRow::Layout::kF32Row ? in_rows_ : in_columns_);
    }
  }

  std::vector<TimedWork> Works() const {
    const double elements = static_cast<double>(kTokens * kChoices * hidden_size_);
    return {Copy("gather for the NPU", elements * kGatherBytes),
            Copy("combine from the NPU", elements * kCombineBytes),
            Copy("gather and combine on the CPU", elements * kCpuExpertMoveBytes)};
  }

  double MeasureMs(size_t work, ThreadPool& pool) {
    Stopwatch watch;
    if (work == 0) {
      for (int e = 0; e < kExperts; ++e) GatherForNpu(e, pool);
    } else {
      const Matrix tokens{tokens_.data(), kTokens, hidden_size_, hidden_size_};
      const Matrix rows{rows_.data(), kTokens * kChoices, hidden_size_, hidden_size_};
      if (work == 2) GatherRows(tokens, lists_.assignments, kChoices, rows, pool);
      CombineRows(work == 1 ? in_columns_ : in_rows_, weights_, kChoices, tokens, pool);
    }
    return watch.ElapsedMs();
  }

 private:
  static TimedWork Copy(std::string what, double bytes) {
    TimedWork work;
    work.what = std::move(what);
    work.io_bytes = bytes;
    return work;
  }

  void GatherForNpu(int expert, ThreadPool& pool) {
    const auto list = lists_.Of(expert);
    if (list.empty()) return;
    const auto first = lists_.offsets[static_cast<size_t>(expert)] * hidden_size_;
    GatherTransposedF16({tokens_.data(), kTokens, hidden_size_, hidden_size_}, list, kChoices,
                        static_cast<int64_t>(list.size()), halves_.data() + first, pool);
  }

  void PlaceOutputs(OutputRow::Layout layout, std::vector<OutputRow>& outputs) const {
    outputs.resize(kTokens * kChoices);
    int64_t first = 0;
    for (int e = 0; e < kExperts; ++e) {
      const auto list = lists_.Of(e);
      const auto count = static_cast<int64_t>(list.size());
      for (int64_t r = 0; r < count; ++r) {
        const int64_t row = first + r;
        const bool is_row = layout == OutputRow::Layout::kF32Row;
        const void* data = is_row ? static_cast<const void*>(rows_.data() + row * hidden_size_)
                                  : halves_.data() + first * hidden_size_ + r;
        outputs[static_cast<size_t>(list[static_cast<size_t>(r)])] = {data, is_row ? 1 : count,
                                                                      layout};
      }
      first += count;
    }
  }

  int64_t hidden_size_;
  AlignedBuffer<float> tokens_, rows_;
  AlignedBuffer<uint16_t> halves_;
  std::vector<float> weights_;
  ExpertLists lists_;
  std::vector<OutputRow> in_columns_, in_rows_;
};

class CpuRounds {
 public:
  CpuRounds(const ExpertShape& shape, DType dtype, int64_t memory_bytes, ThreadPool& pool)
      : ring_(shape, dtype, memory_bytes), copies_(shape.hidden), pool_(pool) {
    for (int64_t rows = 1; rows <= ExpertRing::kRowsPerCall; rows *= 2) {
      rows_.push_back(rows);
      result_.experts.push_back(ring_.WorkOf(rows));
    }
    result_.copies = copies_.Works();
    expert_times_.resize(rows_.size());
    copy_times_.resize(result_.copies.size());
  }

  CpuTimes Run(const MeasureLimits& limits, const MeasureProgress& progress) {
    Stopwatch watch;
    for (int r = -1; r < limits.repetitions; ++r) {  // the first is a warm-up
      if (r >= kLeastRepetitions && watch.ElapsedMs() > limits.budget_ms) break;
      Round(r >= 0);
      if (progress) progress(r + 2, limits.repetitions + 1);
    }
    SetTimes(expert_times_, result_.experts);
    SetTimes(copy_times_, result_.copies);
    return std::move(result_);
  }

 private:
  void Round(bool kept) {
    for (size_t i = 0; i < rows_.size(); ++i) {
      const double ms = ring_.MeasureMs(rows_[i], ExpertRing::ExpertsOf(rows_[i]), pool_);
      if (kept) expert_times_[i].Add(ms);
    }
    for (size_t i = 0; i < copy_times_.size(); ++i) {
      const double ms = copies_.MeasureMs(i, pool_);
      if (kept) copy_times_[i].Add(ms);
    }
  }

  static void SetTimes(const std::vector<RepeatedTimes>& times, std::vector<TimedWork>& works) {
    for (size_t i = 0; i < times.size(); ++i) {
      works[i].time_ms = times[i].Median();
      works[i].spread = times[i].Spread();
    }
  }

  ExpertRing ring_;
  Copies copies_;
  ThreadPool& pool_;
  std::vector<int64_t> rows_;
  std::vector<RepeatedTimes> expert_times_, copy_times_;
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
