// AttentionFunction: one loaded attention program of one history length, and what lies where in its
// buffers. The only place at run time that knows their layout (graph/attention_program.h): channels
// by tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "graph/graph.h"
#include "kernels/dispatch/dispatch.h"
#include "kernels/matrix.h"
#include "npu/device.h"
#include "runtime/loaded_function.h"

namespace npumoe {

// Which queries of a chunk look at which keys. Row t of the chunk stands at `position` + t and sees
// itself and, of the tokens before, those in the window (0: all).
struct AttentionSpan {
  int64_t position = 0;
  int64_t tokens = 0;   // of the chunk, at most its length in the program
  int64_t history = 0;  // cached tokens that are given, the last ones before `position`
  int64_t window = 0;
};

// cos and sin of the chunk's positions, fp16, as the program takes them: [rotary_dim, chunk].
struct RotaryRows {
  std::span<const uint16_t> cos, sin;
};

class AttentionFunction {
 public:
  // Fails when the loaded program declares something else than `graph` (compiled for another plan).
  static Result<std::unique_ptr<AttentionFunction>> Bind(std::unique_ptr<Program> program,
                                                         const Graph& graph, const ProgramId& id);

  LoadedFunction& loaded() { return loaded_; }
  int64_t chunk_tokens() const { return chunk_tokens_; }
  int64_t history_tokens() const { return history_tokens_; }

  // What a token has in the cache: keys and values, or its latents.
  size_t cache_parts() const { return places_.cache.size(); }

  // Fills all inputs. `normed` [tokens, hidden]; `cached`: of each part the rows that end before
  // the chunk, [history, size of the part]. What is not given is zero and masked.
  void Feed(const AttentionSpan& span, ConstMatrix normed, std::span<const Matrix> cached,
            const RotaryRows& rotary, std::span<DeviceBuffer* const> inputs,
            ThreadPool& pool) const;

  // Row t of an output.
  OutputRow Attended(int64_t row, std::span<DeviceBuffer* const> outputs) const;
  OutputRow NewCached(size_t part, int64_t row, std::span<DeviceBuffer* const> outputs) const;
  // Whether the first `rows` rows of all outputs hold neither NaN nor infinity.
  bool IsFinite(int64_t rows, std::span<DeviceBuffer* const> outputs) const;

 private:
  // Indices in Program::inputs and outputs.
  struct CachePart {
    size_t past = 0, fresh = 0;
  };
  struct Places {
    size_t x = 0, cos = 0, sin = 0, mask = 0, y = 0;
    std::vector<CachePart> cache;
  };
  AttentionFunction() = default;
  Status FindCacheParts(const Graph& graph);
  void FillMask(const AttentionSpan& span, uint16_t* mask, ThreadPool& pool) const;
  OutputRow RowOf(size_t output, int64_t row, std::span<DeviceBuffer* const> outputs) const;

  LoadedFunction loaded_;
  Places places_;
  int64_t chunk_tokens_ = 0;
  int64_t history_tokens_ = 0;
  bool rotates_ = false;
};

}  // namespace npumoe
