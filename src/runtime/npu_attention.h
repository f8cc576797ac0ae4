// The attention half of a layer for one chunk, on the NPU where the plan has a program for it that
// is in service, else on the CPU (attention.h). In two steps, so that the CPU is free while the
// program runs: feed and submit; then what it adds to the cache into it, rows into the residual.
//
// A launch that fails, or answers with other numbers than the CPU, is computed again on the CPU.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/layer.h"
#include "runtime/npu_executor.h"

namespace npumoe {

// Of one chunk in flight; reused from layer to layer and chunk to chunk.
struct AttentionState {
  AttentionFunction* function = nullptr;  // that runs; null: nothing is in flight
  Launch launch;
  // The chunk's rotary tables, fp16 [rotary_dim, chunk], for all layers.
  std::vector<uint16_t> cos, sin;
  int64_t tables_position = -1;
  RopeLength tables_length = RopeLength::kShort;
};

// `npu` null: the CPU attends at once, and FinishAttention has nothing to do.
void StartAttention(LayerContext& context, NpuExecutor* npu, int layer, ChunkRows& rows,
                    AttentionState& state);
// Whether finishing would not wait.
bool AttentionDone(LayerContext& context, NpuExecutor* npu, const AttentionState& state);
void FinishAttention(LayerContext& context, NpuExecutor* npu, int layer, ChunkRows& rows,
                     AttentionState& state);

}  // namespace npumoe
