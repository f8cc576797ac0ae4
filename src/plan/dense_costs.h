// Modelled cost of what every token goes through besides experts, where it is an NPU program:
// attention and the vocabulary head, with the CPU's work around their launches (planning.md 2).
#pragma once

#include <cstdint>

#include "base/status.h"
#include "plan/cost_model.h"

namespace npumoe {

// One launch of an attention program over a chunk and a planned history. Counts the products as
// the emulator does, and the logits' way through softmax as traffic of activations:
//   io_bytes = inputs + outputs + 2 * heads * (history + chunk) * chunk * 2 bytes
LaunchCost AttentionLaunchCost(const CostModel& costs, int64_t chunk_tokens,
                               int64_t history_tokens);
// The CPU before it: norm, the chunk's rows, `cached` keys and values of the history, the mask.
double AttentionFeedMs(const CostModel& costs, int64_t tokens, int64_t cached,
                       int64_t history_tokens);
// After it: rows into the residual, new keys and values into the cache.
double AttentionTakeMs(const CostModel& costs, int64_t tokens);
// Norm and router of one layer, which follow it.
double RouterMs(const CostModel& costs, int64_t tokens);

LaunchCost HeadLaunchCost(const CostModel& costs, const HeadPlan& head, int64_t rows);
// Of the inputs and outputs of one launch.
int64_t AttentionIoBytes(const ModelConfig& config, int64_t chunk_tokens, int64_t history_tokens);
int64_t HeadIoBytes(const ModelConfig& config, int64_t rows);
int64_t AttentionWeightBytes(const CostModel& costs);  // of one layer, in its program
int64_t HeadWeightBytes(const CostModel& costs, int64_t slice_entries);

// kUnsupported where a format that stores blocks cannot take the rows of one of the matrices. To be
// asked before any cost.
Status CheckAttentionFormat(const ModelConfig& config, WeightFormat format);
Status CheckHeadFormat(const ModelConfig& config, WeightFormat format);

}  // namespace npumoe
