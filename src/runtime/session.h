// Session: one context (KV cache, position) of a model, on the CPU alone or with a planned NPU.
// Prefill and Decode append to the cache; a chat keeps its session, so later turns prefill only
// what is new.
//
// A LongRoPE model rotates all tokens of a context with one of two sets of frequencies, by the
// context's length. A prefill or decode that takes the context over that border, or follows a
// rewind across it, computes the whole context again first; observers are told all of it again.
//
// Numbers that are not finite (broken weights) end a prefill or decode with an error that names the
// layer and the tensor (finite_check.h); the context stays as it was.
//
// One thread at a time. Pool, executor and observer must outlive it; sessions that share an
// executor take turns.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "model/model.h"
#include "plan/timeline.h"
#include "runtime/observer.h"

namespace npumoe {

class NpuExecutor;  // runtime/npu_executor.h: a plan's programs, loaded on a device

struct SessionOptions {
  // Most tokens the context may hold (1 .. the model's maximum); 0 = the model's maximum. The KV
  // cache grows towards it as tokens come.
  int64_t context_tokens = 0;
  int cpu_chunk_tokens = 512;  // prefill chunk where no plan gives one
  NpuExecutor* npu = nullptr;  // null: everything on the CPU
  Observer* observer = nullptr;
};

enum class LogitsWanted { kLastRow, kAllRows };

// CPU work of one prefill by stage, milliseconds, measured. NPU work is not in here.
struct StageTimes {
  double embed_ms = 0;
  double attention_ms = 0;  // norm, products, rotary, attention, output, residual
  double router_ms = 0;     // norm, router product, top-k, lists
  double gather_ms = 0;     // rows into expert buffers, of the NPU and of the CPU
  double experts_ms = 0;    // expert FFNs on the CPU
  double combine_ms = 0;    // finite check, expert outputs into the residual
  double dense_ms = 0;      // FFN of dense layers
  double head_ms = 0;       // final norm, logits

  double MoeBlockMs() const { return router_ms + gather_ms + experts_ms + combine_ms; }
};

struct PrefillResult {
  std::vector<float> logits;  // [1 or tokens, vocab]
  int64_t tokens = 0;
  int64_t first_position = 0;  // tokens that were in the context before
  // Of these, how many the prefill had to compute again (LongRoPE, see Session); its times, counts
  // and chunks hold them, too.
  int64_t computed_again = 0;
  // Where each chunk ran; token indices of the context. The first begins at first_position, or at
  // 0 where the context was computed again.
  std::vector<ChunkSpan> chunks;
  double wall_ms = 0;  // measured here; on the emulator it means nothing by itself
  // CPU work measured, NPU work as the device reports it (modelled on the emulator), merged into
  // one timeline.
  double time_ms = 0;
  double npu_energy_j = 0;
  Timeline timeline;
  DispatchCounts counts;
  int64_t dense_launches = 0;  // of attention and head programs, that succeeded
  StageTimes stages;
};

class Session {
 public:
  static Result<std::unique_ptr<Session>> Create(std::shared_ptr<const Model> model,
                                                 ThreadPool& pool, const SessionOptions& options);
  virtual ~Session() = default;

  // Appends `ids` to the context. A prompt that does not fit is refused with both numbers.
  // `cancelled` is asked between layers; a cancelled prefill leaves the context as it was.
  virtual Result<PrefillResult> Prefill(std::span<const int32_t> ids, LogitsWanted wanted,
                                        const std::function<bool()>& cancelled = {}) = 0;
  // Appends one token, on the CPU; logits [vocab] of the next one, valid until the next call.
  // `cancelled` is asked where the context is computed again, as in Prefill.
  virtual Result<std::span<const float>> Decode(int32_t id,
                                                const std::function<bool()>& cancelled = {}) = 0;

  // Contexts that were computed again over the session's life.
  struct ComputedAgain {
    int64_t times = 0;
    int64_t tokens = 0;
    // Of those before a decode (a prefill's own times hold its share), as in PrefillResult.
    double time_ms = 0;
    double wall_ms = 0;
  };
  virtual const ComputedAgain& computed_again() const = 0;

  virtual int64_t position() const = 0;        // tokens in the context
  virtual int64_t context_tokens() const = 0;  // how many fit
  // Forgets everything after `position` (to edit or to retry a turn).
  virtual Status Rewind(int64_t position) = 0;
  virtual const Model& model() const = 0;
};

}  // namespace npumoe
