// TraceRecorder: an observer that builds a routing trace from a run's prefills. Every context
// that starts at position 0 is a sequence of its own, which it must watch from there on.
#pragma once

#include <map>
#include <vector>

#include "base/status.h"
#include "model/config.h"
#include "runtime/observer.h"

namespace npumoe {

class TraceRecorder : public Observer {
 public:
  explicit TraceRecorder(const ModelConfig& config);
  void OnRouting(const RoutingEvent& event) override;

  // What was recorded. A sequence whose layers are not equally long (its prefill was cancelled)
  // is cut to the shortest.
  RoutingTrace Trace() const;

 private:
  struct LayerRecord {
    std::vector<int32_t> ids;
    std::vector<float> weights;
    std::vector<int64_t> starts;  // token index of every sequence
  };
  int64_t LengthOf(const LayerRecord& record, size_t sequence) const;
  void AppendSequence(size_t sequence, RoutingTrace& trace) const;

  int num_experts_;
  int experts_per_token_;
  std::map<int, LayerRecord> layers_;
};

}  // namespace npumoe
