// Logits of a chunk's rows, on the NPU where the plan has a head program that is in service, else
// on the CPU (layer.h).
#pragma once

#include <cstdint>

#include "base/status.h"
#include "runtime/layer.h"
#include "runtime/npu_executor.h"

namespace npumoe {

// Largest error of a checked logit that is taken for rounding, of the largest of those checked with
// it: inputs, weights and result are rounded by up to 2^-11 each, and what adds up to a small logit
// by more of it; twenty roundings.
inline constexpr double kLogitErrorLimit = 1e-2;

// logits [rows, vocab] of rows [first, first + rows) of the chunk, as RunHead. `npu` null: the CPU.
// Rows of a launch that fails, or answers with other numbers than the CPU, are computed again.
Status RunHeadOn(LayerContext& context, NpuExecutor* npu, ChunkRows& chunk, int64_t first,
                 int64_t rows, float* logits);

}  // namespace npumoe
