// PlacementReport: what became of every planned program: loaded or refused and why, launches,
// rows, spill, degradations. Kept by npu_executor; shown by `npumoe verify` and after a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "npu/device.h"
#include "plan/simulator.h"
#include "runtime/observer.h"

namespace npumoe {

// Degradation::what of programs whose operations the device runs elsewhere, at least in part:
// right, and slower than planned.
inline constexpr const char* kPlacedElsewhere = "placement";

// Rows that the CPU computed, too, and how far the worst of them were (row_error.h): also those
// that were found wrong.
struct ChecksReport {
  int64_t rows = 0;
  double largest_relative = 0;
  double largest_root_mean_square = 0;
  ChecksReport& operator+=(const ChecksReport& other);
};

// Equal degradations of one program, counted.
struct Degradation {
  std::string what;    // "load", "placement", "launch", "deadline", "numeric", "spot check", ...
  std::string reason;  // of the first one
  int64_t count = 0;
};

struct ProgramPlacement {
  ProgramId id;
  // Of an expert program; attention and head have none.
  GraphForm form = GraphForm::kDenseChains;
  std::vector<PlannedExpert> experts;
  bool loaded = false;        // at the start, or when it was tried again
  bool in_service = false;    // now
  bool came_back = false;     // into service, after a pause
  std::string refusal;        // why it was not loaded or was taken out of service; or empty
  int64_t weight_bytes = 0;   // on the device
  int64_t launches = 0;       // that succeeded
  int64_t capacity_rows = 0;  // of those launches
  int64_t filled_rows = 0;    // of those launches
  // Overflow of its experts that the CPU computed, or tokens behind a longer history than the
  // attention program's.
  int64_t spilled_rows = 0;
  int64_t dropped_rows = 0;   // overflow of its experts that nobody computed
  int64_t degraded_rows = 0;  // rows planned for it that the CPU computed
  double npu_time_ms = 0;     // as the device reports it
  ChecksReport checks;
  // What loading took, the device's compiler included, of all its functions; 0: the device does not
  // tell.
  double load_ms = 0;
  bool load_is_modelled = false;
  std::vector<Degradation> degradations;
};

struct PlacementReport {
  std::string device;     // description of the device
  bool modelled = false;  // whether time and energy of the launches were modelled
  std::vector<ProgramPlacement> programs;
  DispatchCounts counts;  // of all prefills so far
  // Planned for the NPU, computed by the CPU; those of experts are part of counts.cpu_rows.
  int64_t degraded_rows = 0;
  double npu_time_ms = 0;
  double npu_energy_j = 0;
  ChecksReport checks;
  DeviceHealth health;  // restarts and replays, which cost time and no rows

  int64_t planned() const { return static_cast<int64_t>(programs.size()); }
  int64_t loaded() const;
  int64_t LaunchesOf(ProgramKind kind) const;
  int64_t degradations() const;  // refused loads, foreign placements, failed launches
};

Json ToJson(const PlacementReport& report);

}  // namespace npumoe
