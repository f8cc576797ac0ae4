// Times of launches over a grid of shapes, for a chip profile: what npu/profile_fit.h takes.
#pragma once

#include <vector>

#include "base/status.h"
#include "npu/device.h"
#include "npu/profile_fit.h"
#include "runtime/measured_programs.h"

namespace npumoe {

struct MeasureLimits {
  int repetitions = 9;      // of every shape, after a warm-up
  double budget_ms = 60e3;  // no further round begins later, but three are made in any case
  double launch_timeout_ms = 60e3;
};

struct LaunchTimes {
  std::vector<TimedWork> shapes;
  bool modelled = false;  // by the device itself: measured once, without hand-over
  // From the call to the result, beyond what the device says: one hand-over and back.
  double sync_ms = 0;
  double sync_spread = 0;
  // Whether a launch of few filled rows takes less than one of all (shorter by a tenth).
  bool cost_follows_rows = false;
};

// Every round launches each program once, in another order, so that what else the machine does and
// what ran before meet all shapes alike, and weights come from memory where all programs together
// exceed the caches.
Result<LaunchTimes> MeasureLaunches(Device& device, const MeasuredPrograms& programs,
                                    const MeasureLimits& limits, const MeasureProgress& progress);

}  // namespace npumoe
