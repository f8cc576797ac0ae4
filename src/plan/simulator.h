// Simulator: replays a routing trace through a plan with modelled costs (planning.md section 7).
// Counts are exact: on the same trace the run time executes the same launches, rows, padding and
// spill. Times are modelled.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "calibrate/trace.h"
#include "plan/cost_model.h"
#include "plan/plan.h"
#include "plan/timeline.h"

namespace npumoe {

struct DispatchCounts {
  int64_t launches = 0;
  int64_t capacity_rows = 0;  // of all launches
  int64_t filled_rows = 0;    // assignments computed on the NPU
  int64_t spilled_rows = 0;   // overflow computed on the CPU
  int64_t dropped_rows = 0;   // overflow not computed at all (drop mode)
  int64_t cpu_rows = 0;       // assignments of experts that are CPU work by plan
  int64_t assignments() const { return filled_rows + spilled_rows + dropped_rows + cpu_rows; }
  int64_t padding_rows() const { return capacity_rows - filled_rows; }
  bool operator==(const DispatchCounts&) const = default;
  DispatchCounts& operator+=(const DispatchCounts& other);
};

// Where one chunk of a prompt runs.
enum class ChunkPlace { kNpu, kCpu };
struct ChunkSpan {
  int64_t begin = 0;  // token indices in the sequence
  int64_t end = 0;
  ChunkPlace place = ChunkPlace::kNpu;
};
// Cuts a prompt of `tokens` (after `history` cached ones) into the plan's chunks and decides
// where the last partial one is predicted cheaper (min_npu_share keeps it on the NPU when the
// prompt's share would fall below it).
std::vector<ChunkSpan> CutIntoChunks(const Plan& plan, const CostModel& costs, int64_t tokens,
                                     int64_t history);

// Loads [chunks][layers of the plan * plan.expert_count()] of a sequence of a trace, which holds
// the routed choices, cut into `chunks`; a shared expert has the chunk's tokens. Fails
// when the trace is of another model than the plan or does not cover the chunks.
Result<std::vector<std::vector<int32_t>>> CountLoads(const Plan& plan, const RoutingTrace& trace,
                                                     size_t sequence,
                                                     std::span<const ChunkSpan> chunks);

// Counts of one chunk of one layer, from its loads [experts]. A program none of whose experts has
// a token is not launched.
DispatchCounts CountDispatch(const LayerPlan& layer, std::span<const int32_t> loads,
                             OverflowMode overflow);

struct SimulationResult {
  DispatchCounts counts;
  int64_t dense_launches = 0;  // of attention and head programs
  double time_ms = 0;          // until the last chunk's logits: time to first token
  double energy_j = 0;
  double cpu_busy_ms = 0;
  double npu_busy_ms = 0;
  Timeline timeline;
};

// One sequence of the trace through the plan.
Result<SimulationResult> Simulate(const Plan& plan, const CostModel& costs,
                                  const RoutingTrace& trace, size_t sequence);

}  // namespace npumoe
