// MoE dispatch: one chunk through the experts of one layer (architecture, section 4, steps 2-6).
//   route (routing.h) -> split by capacity -> gather and submit -> CPU experts meanwhile -> combine
// Per resident expert the first `capacity` assignments in token order go to the NPU; the rest is
// overflow, which the CPU computes (or which overflow.h chose to drop, when that was asked for).
// The plan's experts that are nobody's program are CPU work, and so is whatever a device refuses.
//
// Departs from the paper: capacities are per expert, and nothing is lost by default.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/dispatch/dispatch.h"
#include "kernels/expert/expert.h"
#include "runtime/layer.h"
#include "runtime/npu_executor.h"

namespace npumoe {

// Assignments (t * choices + slot) of one expert that the CPU computes.
struct CpuShare {
  int expert = 0;
  std::span<const int32_t> assignments;
};

struct ExpertMaxima {
  float inner = 0;
  float output = 0;
};

// One launch of an expert program. `slots[g]` are the assignments of its g-th expert.
struct ExpertLaunch {
  ExpertFunction* function = nullptr;
  std::vector<std::span<const int32_t>> slots;
  Launch launch;

  int64_t FilledRows() const;
};

// The MoE part of one chunk, from routing to combine. Reused from layer to layer and chunk to
// chunk, so that nothing is allocated once it has seen the largest.
struct MoeState {
  std::vector<int32_t> ids;    // [T, choices]
  std::vector<float> weights;  // [T, choices], times the residual multiplier
  ExpertLists lists;
  std::vector<CpuShare> cpu_shares;
  std::vector<ExpertLaunch>
      launches;  // the first `num_launches` are this layer's; never moved in flight
  size_t num_launches = 0;
  std::vector<OutputRow> outputs;      // [T * choices]
  AlignedBuffer<float> cpu_outputs;    // rows of cpu_shares
  AlignedBuffer<float> retry_outputs;  // rows of launches that failed
  DispatchCounts counts;
  // Only used inside a step:
  std::vector<int32_t> routed_ids;    // [T, k], for the observer of a model with a shared expert
  std::vector<float> routed_weights;  // [T, k]
  std::vector<int32_t> gathered;
  std::vector<ExpertTask> tasks;
  std::vector<ExpertMaxima> maxima;
  std::vector<float> norms;
};

// Splits the assignments, fills the device's buffers and submits. `npu` null: all CPU work.
void StartExperts(LayerContext& context, NpuExecutor* npu, int layer, ChunkRows& rows,
                  MoeState& moe);
// Non-resident experts and overflow.
void RunCpuExperts(LayerContext& context, int layer, ChunkRows& rows, MoeState& moe);
// Whether combining would not wait.
bool LaunchesDone(LayerContext& context, NpuExecutor* npu, const MoeState& moe);
// Waits for the launches, computes again what failed, adds the experts' outputs to the residual.
void CombineExperts(LayerContext& context, NpuExecutor* npu, int layer, ChunkRows& rows,
                    MoeState& moe);

}  // namespace npumoe
