// Generation: prefill what the context lacks, then sample and decode token by token, streaming
// whole characters to stdout.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/sample/sample.h"
#include "runtime/session.h"

namespace npumoe::cli {

struct GenerateOptions {
  SamplingOptions sampling;
  uint64_t seed = 0;
  std::vector<int32_t> end_tokens;  // generation stops at any of them
  int64_t max_tokens = -1;          // -1: until an end token or a full context
  bool stream = true;
};

enum class StopReason { kEndToken, kLength, kContextFull, kInterrupted };
const char* Name(StopReason reason);

struct Generation {
  std::string text;
  std::vector<int32_t> ids;  // without the end token
  StopReason stop = StopReason::kLength;
  PrefillResult prefill;  // its logits are moved out
  // Measured: the first token comes out of prefill, every further one is a decode step.
  int64_t decode_steps = 0;
  double decode_ms = 0;
  Session::ComputedAgain computed_again;  // in this generation; not in decode_ms
  double DecodeTokensPerSecond() const;
};

// Makes the session's context equal `prompt` (what it shares with `context` is kept), then
// generates. `context` follows: afterwards it holds exactly what the session holds.
Result<Generation> Generate(Session& session, std::vector<int32_t>& context,
                            std::span<const int32_t> prompt, const GenerateOptions& options);

}  // namespace npumoe::cli
