// Experts with arbitrary weights that the CPU computes in turn, to be timed: more of them than its
// caches hold, so that each comes from memory when its turn is there again.
#pragma once

#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/dtype.h"
#include "base/thread_pool.h"
#include "kernels/expert/expert.h"
#include "npu/profile_fit.h"
#include "runtime/measured_programs.h"

namespace npumoe {

class ExpertRing {
 public:
  static constexpr int64_t kRowsPerCall = 1024;  // chosen: some 10 ms of work on one core
  static constexpr int64_t kMostExpertsPerCall = 16;
  // Experts of one call, so that calls of few rows are long enough to be timed.
  static int64_t ExpertsOf(int64_t rows) {
    return std::clamp<int64_t>(kRowsPerCall / rows, 1, kMostExpertsPerCall);
  }

  // At least eight experts, `memory_bytes` of weights. Throws std::bad_alloc.
  ExpertRing(const ExpertShape& shape, DType dtype, int64_t memory_bytes);

  // The next `experts` in one call, `rows` each; together at most kRowsPerCall.
  double MeasureMs(int64_t rows, int64_t experts, ThreadPool& pool);
  // A call of ExpertsOf(rows), without its time.
  TimedWork WorkOf(int64_t rows) const;

 private:
  SwiGluWeights Weights(int64_t expert) const;

  ExpertShape shape_;
  DType dtype_;
  int64_t count_ = 0;
  int64_t next_ = 0;
  AlignedBuffer<std::byte> weights_;
  AlignedBuffer<float> in_, out_;
};

}  // namespace npumoe
