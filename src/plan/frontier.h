// The padding-against-spill frontier of `plan --frontier`: the multiplier of planning.md section
// 3 swept with all experts resident, each setting replayed on loads that it was not made from.
// It judges the choice of capacities alone, apart from programs and residency.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "calibrate/calibration.h"
#include "plan/cost_model.h"

namespace npumoe {

// kOff: costs are linear in rows on both engines, so that the multiplier is a quantile. kOn: an
// expert's capacity below the knee and the first spilled row cost what streaming its weights
// costs, as on the chip.
enum class WeightFloor { kOff, kOn };

struct FrontierPoint {
  double multiplier = 0;
  double padding = 0;         // empty rows / capacity rows
  double spill = 0;           // overflow assignments / all assignments
  int64_t capacity_rows = 0;  // per chunk, all layers
};

struct FrontierOptions {
  int chunk_tokens = 1024;
  SequenceBorders borders = SequenceBorders::kIgnore;
  WeightFloor floor = WeightFloor::kOff;
};

// Points by rising multiplier: from much padding to much spill. `held_out` is another part of the
// text or another domain, of the same model. `costs` gives the quantum, and with the floor the
// costs; without it one row costs the same on either engine.
Result<std::vector<FrontierPoint>> MakeFrontier(const Calibration& calibrated,
                                                const Calibration& held_out, const CostModel& costs,
                                                const FrontierOptions& options);

// Both frontiers side by side as a table for a terminal.
std::string FormatFrontiers(const std::vector<FrontierPoint>& floor_off,
                            const std::vector<FrontierPoint>& floor_on,
                            const std::string& profile_name);

}  // namespace npumoe
