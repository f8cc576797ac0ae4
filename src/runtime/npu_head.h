// Logits of a chunk's rows, on the NPU where the plan has a head program that is in service, else
// on the CPU (layer.h).
#pragma once

#include <cstdint>

#include "base/status.h"
#include "runtime/layer.h"
#include "runtime/npu_executor.h"

namespace npumoe {

// logits [rows, vocab] of rows [first, first + rows) of the chunk, as RunHead. `npu` null: the CPU.
// Rows of a launch that fails, or answers with other numbers than the CPU, are computed again.
Status RunHeadOn(LayerContext& context, NpuExecutor* npu, ChunkRows& chunk, int64_t first,
                 int64_t rows, float* logits);

}  // namespace npumoe
