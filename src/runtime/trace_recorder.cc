#include "runtime/trace_recorder.h"

#include <algorithm>

#include "base/check.h"

namespace npumoe {

TraceRecorder::TraceRecorder(const ModelConfig& config)
    : num_experts_(config.moe.num_experts), experts_per_token_(config.moe.experts_per_token) {
  for (const int layer : config.MoeLayers()) layers_[layer];
}

void TraceRecorder::OnRouting(const RoutingEvent& event) {
  LayerRecord& record = layers_[event.layer];
  const int64_t k = experts_per_token_;
  const auto recorded = static_cast<int64_t>(record.ids.size()) / k;
  if (event.position == 0) record.starts.push_back(recorded);
  NPUMOE_CHECK(!record.starts.empty());  // the observer watched the context from its start
  // What is told again (after a rewind, or a cancelled prefill) replaces what came before.
  const int64_t at = record.starts.back() + event.position;
  NPUMOE_CHECK(at <= recorded);
  record.ids.resize(static_cast<size_t>(at * k));
  record.weights.resize(static_cast<size_t>(at * k));
  record.ids.insert(record.ids.end(), event.ids.begin(), event.ids.end());
  record.weights.insert(record.weights.end(), event.weights.begin(), event.weights.end());
}

RoutingTrace TraceRecorder::Trace() const {
  RoutingTrace trace;
  trace.num_experts = num_experts_;
  trace.experts_per_token = experts_per_token_;
  size_t sequences = layers_.empty() ? 0 : SIZE_MAX;
  for (const auto& [layer, record] : layers_) {
    sequences = std::min(sequences, record.starts.size());
    trace.layers.push_back({layer, {}, {}});
  }
  for (size_t s = 0; s < sequences; ++s) AppendSequence(s, trace);
  return trace;
}

int64_t TraceRecorder::LengthOf(const LayerRecord& record, size_t sequence) const {
  const auto recorded = static_cast<int64_t>(record.ids.size()) / experts_per_token_;
  const bool is_last = sequence + 1 == record.starts.size();
  return (is_last ? recorded : record.starts[sequence + 1]) - record.starts[sequence];
}

void TraceRecorder::AppendSequence(size_t sequence, RoutingTrace& trace) const {
  int64_t length = INT64_MAX;
  for (const auto& [layer, record] : layers_) {
    length = std::min(length, LengthOf(record, sequence));
  }
  if (length == 0) return;
  trace.sequence_starts.push_back(trace.tokens());
  const int64_t k = experts_per_token_;
  for (LayerRouting& routing : trace.layers) {
    const LayerRecord& record = layers_.at(routing.layer);
    const int64_t begin = record.starts[sequence] * k;
    const int64_t end = begin + length * k;
    routing.ids.insert(routing.ids.end(), record.ids.begin() + begin, record.ids.begin() + end);
    routing.weights.insert(routing.weights.end(), record.weights.begin() + begin,
                           record.weights.begin() + end);
  }
}

}  // namespace npumoe
