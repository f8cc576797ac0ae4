// Times of what the CPU computes beside an NPU, for a chip profile: experts over a grid of rows,
// and the copies of dispatch. In the units of plan/cost_model.h, so that what is fitted to them is
// what the planner predicts with.
#pragma once

#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "npu/profile_fit.h"
#include "runtime/copy_ring.h"
#include "runtime/measure_launches.h"
#include "runtime/measured_programs.h"

namespace npumoe {

struct CpuTimes {
  std::vector<TimedWork> experts;  // of several experts in one call; for Overhead::kNone
  CopyTimes copies;
};

// `weights`: type of the experts' weights. All of them together take `memory_bytes` (at least
// eight experts), so that each comes from memory when its turn is there again; the buffers of
// copies take half as much again. kResourceExhausted: there is not that much memory.
Result<CpuTimes> MeasureCpu(const ExpertShape& shape, DType weights, int64_t memory_bytes,
                            ThreadPool& pool, const MeasureLimits& limits,
                            const MeasureProgress& progress);

}  // namespace npumoe
