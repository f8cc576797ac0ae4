// LayerDispatch: where the assignments of one chunk go in one planned layer. The one place that
// counts launches, rows, padding and spill; planner, simulator and run time agree because of it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/plan.h"
#include "plan/simulator.h"

namespace npumoe {

class LayerDispatch {
 public:
  LayerDispatch(const LayerPlan& layer, int num_experts);

  // Counts, and `filled` [programs]: rows per program, 0 for one that is not launched.
  // `on_cpu(expert, rows)` is called for every expert with rows on the CPU.
  template <class OnCpu>
  DispatchCounts Count(std::span<const int32_t> loads, ChunkPlace place, OverflowMode overflow,
                       std::span<int64_t> filled, OnCpu on_cpu) const;

  size_t programs() const { return programs_.size(); }
  // The bucket that a launch of the program takes for these loads, whose overflow goes elsewhere:
  // that of its planned capacities is the last one.
  size_t BucketFor(size_t program, std::span<const int32_t> loads) const;

 private:
  struct Program {
    std::vector<int> experts;
    std::vector<std::vector<int64_t>> buckets;  // ascending, with the planned capacities
    std::vector<int64_t> capacity_rows;         // [buckets]
  };
  std::vector<int> program_of_;       // [experts], -1: CPU work
  std::vector<int64_t> capacity_of_;  // [experts]
  std::vector<Program> programs_;
};

template <class OnCpu>
DispatchCounts LayerDispatch::Count(std::span<const int32_t> loads, ChunkPlace place,
                                    OverflowMode overflow, std::span<int64_t> filled,
                                    OnCpu on_cpu) const {
  DispatchCounts counts;
  for (int64_t& rows : filled) rows = 0;
  for (size_t expert = 0; expert < loads.size(); ++expert) {
    const int64_t load = loads[expert];
    if (load == 0) continue;
    const int program = place == ChunkPlace::kCpu ? -1 : program_of_[expert];
    if (program < 0) {
      counts.cpu_rows += load;
      on_cpu(expert, load);
      continue;
    }
    const int64_t computed = load < capacity_of_[expert] ? load : capacity_of_[expert];
    filled[static_cast<size_t>(program)] += computed;
    counts.filled_rows += computed;
    if (load == computed) continue;
    if (overflow == OverflowMode::kDrop) {
      counts.dropped_rows += load - computed;
    } else {
      counts.spilled_rows += load - computed;
      on_cpu(expert, load - computed);
    }
  }
  for (size_t p = 0; p < filled.size(); ++p) {
    if (filled[p] == 0) continue;
    ++counts.launches;
    counts.capacity_rows += programs_[p].capacity_rows[BucketFor(p, loads)];
  }
  return counts;
}

}  // namespace npumoe
