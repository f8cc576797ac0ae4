#include "runtime/prefill_timeline.h"

#include <fmt/format.h>

#include <algorithm>

namespace npumoe {

void PrefillTimeline::AddCpuWork(int chunk, int layer, const char* what, double duration_ms) {
  const double end_ms = now_ms_ + duration_ms;
  timeline_.spans.push_back(
      {Engine::kCpu, TimeSource::kMeasured, chunk, layer, what, now_ms_, end_ms});
  now_ms_ = end_ms;
}

namespace {

// As the simulator calls them (plan/replay.cc).
std::string NameOf(const ProgramId& program) {
  if (program.kind == ProgramKind::kExperts) return fmt::format("launch {}", program.index);
  return fmt::format("{} launch", Name(program.kind));
}

}  // namespace

double PrefillTimeline::AddLaunch(int chunk, const ProgramId& program, double submitted_ms,
                                  const LaunchReport& report) {
  const double start_ms = std::max(submitted_ms, npu_free_ms_);
  npu_free_ms_ = start_ms + report.time_ms;
  npu_energy_j_ += report.energy_j;
  const TimeSource source = report.modelled ? TimeSource::kModelled : TimeSource::kMeasured;
  timeline_.spans.push_back(
      {Engine::kNpu, source, chunk, program.layer, NameOf(program), start_ms, npu_free_ms_});
  return npu_free_ms_;
}

void PrefillTimeline::WaitUntil(double end_ms) { now_ms_ = std::max(now_ms_, end_ms); }

}  // namespace npumoe
