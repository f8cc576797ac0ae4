// Prefill: a prompt of any length, chunk by chunk, through all layers. With a plan up to two
// chunks are in flight: plan/schedule.h says what the CPU does next, this file does it.
//
// Leaves the caller's position alone: keys and values are written behind it, and count only once
// the caller moves it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>

#include "base/status.h"
#include "runtime/layer.h"
#include "runtime/moe_dispatch.h"
#include "runtime/npu_attention.h"
#include "runtime/npu_executor.h"
#include "runtime/session.h"

namespace npumoe {

// Everything of one chunk in flight; kept by the session from prefill to prefill.
struct ChunkInFlight {
  ChunkRows rows;
  AttentionState attention;
  MoeState moe;
  bool is_free = true;
};

inline constexpr size_t kMaxChunksInFlight = 2;
using ChunksInFlight = std::array<ChunkInFlight, kMaxChunksInFlight>;

struct PrefillRequest {
  std::span<const int32_t> ids;  // in the vocabulary, at least one; they fit the context
  int64_t position = 0;          // tokens in the context
  int64_t computed_again = 0;    // of `ids`, at their start: their logits are not wanted
  LogitsWanted wanted = LogitsWanted::kLastRow;
  int cpu_chunk_tokens = 0;
  NpuExecutor* npu = nullptr;
  std::function<bool()> cancelled;
};

Result<PrefillResult> RunPrefill(LayerContext& context, ChunksInFlight& slots,
                                 const PrefillRequest& request);

}  // namespace npumoe
