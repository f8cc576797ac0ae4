#include "runtime/expert_ring.h"

#include <fmt/format.h>

#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/clock.h"

namespace npumoe {

ExpertRing::ExpertRing(const ExpertShape& shape, DType dtype, int64_t memory_bytes)
    : shape_(shape),
      dtype_(dtype),
      in_(static_cast<size_t>(kRowsPerCall * shape.hidden)),
      out_(static_cast<size_t>(kRowsPerCall * shape.hidden)) {
  constexpr int64_t kLeastExperts = 8;
  constexpr float kInput = 0.5f;
  const auto expert_bytes = static_cast<int64_t>(BytesOf(dtype, shape.Weights()));
  count_ = std::max(kLeastExperts, memory_bytes / expert_bytes);
  weights_.Resize(static_cast<size_t>(count_ * expert_bytes));
  // Any finite pattern serves: 0x3c3c is a normal number in F16 (so that blocks scaled by it are
  // finite too), BF16 and (twice) in F32.
  std::memset(weights_.data(), 0x3c, weights_.size());
  std::ranges::fill(in_.span(), kInput);
}

double ExpertRing::MeasureMs(int64_t rows, int64_t experts, ThreadPool& pool) {
  NPUMOE_CHECK(rows * experts <= kRowsPerCall && experts <= count_ * kMostExpertsPerCall);
  std::vector<ExpertTask> tasks;
  const int64_t hidden = shape_.hidden;
  for (int64_t e = 0; e < experts; ++e) {
    ExpertTask task;
    task.weights = Weights(next_);
    task.in = {in_.data() + e * rows * hidden, rows, hidden, hidden};
    task.out = {out_.data() + e * rows * hidden, rows, hidden, hidden};
    tasks.push_back(task);
    next_ = (next_ + 1) % count_;
  }
  Stopwatch watch;
  RunExperts(tasks, pool);
  return watch.ElapsedMs();
}

TimedWork ExpertRing::WorkOf(int64_t rows) const {
  const int64_t experts = ExpertsOf(rows);
  TimedWork work;
  work.what = fmt::format("{} expert{}, {} rows", experts, experts == 1 ? "" : "s", rows);
  work.rows = static_cast<double>(rows);
  work.weights = static_cast<double>(experts * shape_.Weights());
  work.weight_bytes =
      static_cast<double>(experts) * static_cast<double>(BytesOf(dtype_, shape_.Weights()));
  return work;
}

SwiGluWeights ExpertRing::Weights(int64_t expert) const {
  const int64_t elements = shape_.hidden * shape_.intermediate;
  const auto bytes = static_cast<int64_t>(BytesOf(dtype_, elements));
  const std::byte* first = weights_.data() + 3 * expert * bytes;
  const Shape inner{shape_.intermediate, shape_.hidden};
  return {{dtype_, inner, first},
          {dtype_, inner, first + bytes},
          {dtype_, Shape{shape_.hidden, shape_.intermediate}, first + 2 * bytes}};
}

}  // namespace npumoe
