// Replay: one prompt's chunks through a plan with modelled costs, event by event. The CPU does
// one step at a time in the order of Schedule, the NPU one launch at a time in the order of
// submission. The simulator replays traces with it, the planner its calibrated chunks.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "plan/cost_model.h"
#include "plan/layer_dispatch.h"
#include "plan/plan.h"
#include "plan/schedule.h"
#include "plan/simulator.h"

namespace npumoe {

enum class TimelineMode { kOmit, kRecord };

// Loads [experts] of a chunk (its index among the spans) and MoE layer (index in plan.layers).
using LoadsOf = std::function<std::span<const int32_t>(size_t chunk, size_t moe_layer)>;

class Replay {
 public:
  // Keeps references to the plan and the costs.
  Replay(const Plan& plan, const CostModel& costs);

  SimulationResult Run(std::span<const ChunkSpan> chunks, const LoadsOf& loads_of,
                       TimelineMode mode) const;

 private:
  friend class ReplayRun;
  struct LayerModel {
    int moe_layer = -1;  // index in plan.layers; -1: a dense layer
    LayerDispatch dispatch;
    std::vector<std::vector<LaunchCost>> at_capacity;  // [programs][buckets]
    bool attends_on_npu = false;
  };

  double CpuExpertMs(size_t expert, int64_t rows) const;

  const Plan* plan_;
  const CostModel* costs_;
  std::vector<LayerModel> layers_;     // every layer of the model
  std::vector<LaunchCost> attention_;  // [history lengths]
  std::vector<double> cpu_expert_ms_;  // [rows], 0 .. chunk length, of a routed expert
};

}  // namespace npumoe
