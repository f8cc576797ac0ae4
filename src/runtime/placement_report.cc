#include "runtime/placement_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace npumoe {
namespace {

Json CountsToJson(const DispatchCounts& counts) {
  return {{"launches", counts.launches},         {"capacity_rows", counts.capacity_rows},
          {"filled_rows", counts.filled_rows},   {"padding_rows", counts.padding_rows()},
          {"spilled_rows", counts.spilled_rows}, {"dropped_rows", counts.dropped_rows},
          {"cpu_rows", counts.cpu_rows},         {"assignments", counts.assignments()}};
}

// Infinite where an answer was: no number of JSON.
Json FiniteOrNull(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json ChecksToJson(const ChecksReport& checks) {
  return {{"rows", checks.rows},
          {"largest_relative", FiniteOrNull(checks.largest_relative)},
          {"largest_root_mean_square", FiniteOrNull(checks.largest_root_mean_square)}};
}

Json ProgramToJson(const ProgramPlacement& program) {
  Json experts = Json::array();
  for (const PlannedExpert& expert : program.experts) {
    experts.push_back({{"expert", expert.expert}, {"capacity", expert.capacity}});
  }
  Json degradations = Json::array();
  for (const Degradation& degradation : program.degradations) {
    degradations.push_back(
        {{"what", degradation.what}, {"reason", degradation.reason}, {"count", degradation.count}});
  }
  return {{"kind", Name(program.id.kind)},
          {"layer", program.id.layer},
          {"program", program.id.index},
          {"form", program.experts.empty() ? "" : Name(program.form)},
          {"experts", std::move(experts)},
          {"planned", true},
          {"loaded", program.loaded},
          {"in_service", program.in_service},
          {"came_back", program.came_back},
          {"refusal", program.refusal},
          {"weight_bytes", program.weight_bytes},
          {"launches", program.launches},
          {"capacity_rows", program.capacity_rows},
          {"filled_rows", program.filled_rows},
          {"spilled_rows", program.spilled_rows},
          {"dropped_rows", program.dropped_rows},
          {"degraded_rows", program.degraded_rows},
          {"npu_time_ms", program.npu_time_ms},
          {"checks", ChecksToJson(program.checks)},
          {"load_ms", program.load_ms},
          {"load_is_modelled", program.load_is_modelled},
          {"degradations", std::move(degradations)}};
}

Json HealthToJson(const DeviceHealth& health) {
  Json events = Json::array();
  for (const DeviceHealth::Event& event : health.events) {
    events.push_back({{"reason", event.reason}, {"count", event.count}});
  }
  return {
      {"restarts", health.restarts}, {"replays", health.replays}, {"events", std::move(events)}};
}

}  // namespace

ChecksReport& ChecksReport::operator+=(const ChecksReport& other) {
  rows += other.rows;
  largest_relative = std::max(largest_relative, other.largest_relative);
  largest_root_mean_square = std::max(largest_root_mean_square, other.largest_root_mean_square);
  return *this;
}

int64_t PlacementReport::loaded() const {
  int64_t count = 0;
  for (const ProgramPlacement& program : programs) count += program.loaded ? 1 : 0;
  return count;
}

int64_t PlacementReport::LaunchesOf(ProgramKind kind) const {
  int64_t launches = 0;
  for (const ProgramPlacement& program : programs) {
    if (program.id.kind == kind) launches += program.launches;
  }
  return launches;
}

int64_t PlacementReport::degradations() const {
  int64_t count = 0;
  for (const ProgramPlacement& program : programs) {
    for (const Degradation& degradation : program.degradations) count += degradation.count;
  }
  return count;
}

Json ToJson(const PlacementReport& report) {
  Json programs = Json::array();
  for (const ProgramPlacement& program : report.programs) {
    programs.push_back(ProgramToJson(program));
  }
  return {{"device", report.device},
          {"time_source", report.npu_time_ms == 0 ? "none"
                          : report.modelled       ? "modelled"
                                                  : "measured"},
          {"planned", report.planned()},
          {"loaded", report.loaded()},
          {"degradations", report.degradations()},
          {"degraded_rows", report.degraded_rows},
          {"npu_time_ms", report.npu_time_ms},
          {"npu_energy_j", report.npu_energy_j},
          {"checks", ChecksToJson(report.checks)},
          {"health", HealthToJson(report.health)},
          {"counts", CountsToJson(report.counts)},
          {"programs", std::move(programs)}};
}

}  // namespace npumoe
