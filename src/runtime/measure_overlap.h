// How much a device's launches and the CPU's work slow each other down: they share memory, and on
// some machines the units of one core.
#pragma once

#include "base/dtype.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "npu/device.h"
#include "npu/profile_fit.h"
#include "runtime/measure_launches.h"
#include "runtime/measured_programs.h"

namespace npumoe {

struct OverlapFactors {
  FittedFigure npu{1, 0};  // on a launch's time while the CPU works, at least 1
  FittedFigure cpu{1, 0};  // on the CPU's while launches run
};

// On a device that measures its own time. Launches of the largest number of experts, each alone and
// beside experts on the CPU, in turn; only CPU work that lies wholly within a launch counts.
Result<OverlapFactors> MeasureOverlap(Device& device, const MeasuredPrograms& programs,
                                      const ExpertShape& shape, DType weights, ThreadPool& pool,
                                      const MeasureLimits& limits);

}  // namespace npumoe
