// Observer: what a run tells whoever listens: calibration, traces, reports, progress, tests.
// Every method has an empty default. Called on the thread that runs the session, in order; spans
// are valid only during the call.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "plan/plan.h"
#include "plan/simulator.h"

namespace npumoe {

// Positions count from the start of the context. A prefill that is cancelled or fails has sent its
// events already: positions that come again replace what was told before.
struct RoutingEvent {
  int layer = 0;
  int64_t position = 0;  // of the first token in the context
  int64_t tokens = 0;
  int experts_per_token = 0;
  std::span<const int32_t> ids;    // [tokens, k]
  std::span<const float> weights;  // [tokens, k]
};

// One expert computed on the CPU (experts on the NPU tell nothing).
struct ActivationEvent {
  int layer = 0;
  int expert = 0;
  float inner_max = 0;   // max |silu(gate x) * up x|
  float output_max = 0;  // max |down(...)|
};

// In the order of positions, layer by layer; for that, one chunk is in flight at a time.
struct HiddenEvent {
  int layer = 0;  // output of this layer
  int64_t position = 0;
  int64_t tokens = 0;
  std::span<const float> hidden;  // [tokens, hidden_size]
};

// One chunk of one MoE layer has been computed.
struct DispatchEvent {
  int layer = 0;
  int chunk = 0;  // counts from 0 in every prefill
  DispatchCounts counts;
};

struct DegradationEvent {
  std::string what;  // "load", "launch", "deadline", "numeric", ...
  std::string reason;
  ProgramId program;
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnRouting(const RoutingEvent&) {}
  // Routing and hidden rows of tokens appended by Session::Decode, too; off: only of prefills.
  virtual bool WantsDecode() const { return false; }
  // Asking for these costs time, so they are off unless wanted.
  virtual bool WantsActivations() const { return false; }
  virtual void OnActivation(const ActivationEvent&) {}
  virtual bool WantsHidden() const { return false; }
  virtual void OnHidden(const HiddenEvent&) {}
  virtual void OnDispatch(const DispatchEvent&) {}
  virtual void OnDegradation(const DegradationEvent&) {}
  virtual void OnPrefillProgress(int64_t /*done_tokens*/, int64_t /*total_tokens*/) {}
};

}  // namespace npumoe
