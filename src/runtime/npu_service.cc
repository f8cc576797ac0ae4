// Which programs of NpuLaunches are in service: failures, retirement, second chances, the report.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "runtime/npu_launches.h"

namespace npumoe {
namespace {

// Rows of a program's first launch that are checked; chosen.
constexpr int kFirstCheckRows = 4;

// Without waiting for repetitions.
bool RetiresAtOnce(const Status& failure) {
  return failure.code() == StatusCode::kDeadlineExceeded ||
         failure.code() == StatusCode::kUnsupported;
}

}  // namespace

void NpuLaunches::AddProgram(const ProgramId& id, ProgramPlacement placement) {
  services_[id].placement = report_.programs.size();
  const std::string refusal = placement.refusal;
  report_.programs.push_back(std::move(placement));
  if (!refusal.empty()) Count(id, "load", refusal);
}

bool NpuLaunches::InService(const ProgramId& id) const {
  return report_.programs[ServiceOf(id).placement].in_service;
}

void NpuLaunches::CountPlacement(const LoadedFunction& function) {
  const LaunchReport load = function.program->load_report();
  ProgramPlacement& placement = PlacementOf(function.id);
  placement.load_ms += load.time_ms;
  placement.load_is_modelled = load.modelled;
  const std::optional<ComputePlan> where = function.program->compute_plan();
  if (!where || where->on_device >= where->operations) return;
  Count(function.id, kPlacedElsewhere,
        fmt::format("{} of {} operations on the device; elsewhere: {}", where->on_device,
                    where->operations, where->elsewhere));
}

NpuLaunches::Service& NpuLaunches::ServiceOf(const ProgramId& id) {
  const auto found = services_.find(id);
  NPUMOE_CHECK(found != services_.end());
  return found->second;
}

const NpuLaunches::Service& NpuLaunches::ServiceOf(const ProgramId& id) const {
  const auto found = services_.find(id);
  NPUMOE_CHECK(found != services_.end());
  return found->second;
}

ProgramPlacement& NpuLaunches::PlacementOf(const ProgramId& id) {
  return report_.programs[ServiceOf(id).placement];
}

void NpuLaunches::RejectOutput(Launch& launch) {
  Fail(launch, "numeric",
       Status(StatusCode::kNumeric, "the device answered with NaN or infinite values"));
}

// What was caught is a sample: others of its rows are as wrong, now and after a pause. It goes at
// once and for good, so that from here on the answer is the right one.
void NpuLaunches::RejectNumbers(Launch& launch, double error) {
  const bool first = IsFirst(launch);
  const ProgramId& id = launch.function->id;
  Retire(id,
         first ? "its first launch did not compute what the CPU does"
               : "a launch did not compute what the CPU does",
         Again::kNever);
  ServiceOf(id).is_distrusted = true;
  Fail(launch, first ? "first check" : "spot check",
       Status(StatusCode::kNumeric,
              fmt::format("a row differs from the CPU's by {:.2g} of its largest value", error)));
}

bool NpuLaunches::RejectIfDistrusted(Launch& launch) {
  if (!ServiceOf(launch.function->id).is_distrusted) return false;
  Fail(launch, "spot check",
       Status(StatusCode::kNumeric, "it was under way when another launch was found wrong"));
  return true;
}

void NpuLaunches::AddDegradedRows(const ProgramId& id, int64_t rows) {
  PlacementOf(id).degraded_rows += rows;
  report_.degraded_rows += rows;
}

void NpuLaunches::AddChecks(const Launch& launch, const ChecksReport& checks) {
  report_.checks += checks;
  PlacementOf(launch.function->id).checks += checks;
}

bool NpuLaunches::IsFirst(const Launch& launch) const {
  return !ServiceOf(launch.function->id).checked.contains(launch.function);
}

NpuLaunches::Checks NpuLaunches::NextChecks(const Launch& launch) {
  if (options_.verification == Verification::kOff) return {};
  if (options_.verification == Verification::kEveryRow) {
    return {static_cast<int>(launch.filled_rows), ++launches_checked_, /*every_row=*/true};
  }
  return {IsFirst(launch) ? kFirstCheckRows : 1, ++launches_checked_};
}

void NpuLaunches::Fail(Launch& launch, const std::string& what, const Status& failure) {
  launch.state = Launch::State::kFailed;
  launch.failure = failure;
  const ProgramId& id = launch.function->id;
  Count(id, what, failure.message());
  if (failure.code() == StatusCode::kDeviceLost) {
    RetireAll("device lost: " + failure.message());
    return;
  }
  int& failures = ServiceOf(id).failures_in_a_row;
  if (++failures >= kFailuresBeforeRetirement || RetiresAtOnce(failure)) {
    Retire(
        id,
        fmt::format("out of service after {} failed launch(es): {}", failures, failure.message()),
        failure.code() == StatusCode::kUnsupported ? Again::kNever : Again::kOnceAfterPause);
  }
}

void NpuLaunches::Count(const ProgramId& id, const std::string& what, const std::string& reason) {
  events_.push_back({what, reason, id});
  ProgramPlacement& placement = PlacementOf(id);
  for (Degradation& known : placement.degradations) {
    if (known.what != what || known.reason != reason) continue;
    ++known.count;
    return;
  }
  placement.degradations.push_back({what, reason, 1});
}

void NpuLaunches::Retire(const ProgramId& id, const std::string& reason, Again again) {
  ProgramPlacement& placement = PlacementOf(id);
  Service& service = ServiceOf(id);
  if (again == Again::kNever && service.retired) {  // what is on pause does not come back
    service.retired.reset();
    --programs_on_pause_;
  }
  if (!placement.in_service) return;
  placement.in_service = false;
  placement.refusal = reason;
  if (again == Again::kNever || service.had_second_chance) return;
  service.retired.emplace();
  ++programs_on_pause_;
}

void NpuLaunches::ReviveAfterPause() {
  if (programs_on_pause_ == 0) return;
  ReclaimAbandoned();  // nobody else does while nothing is launched
  for (auto& [id, service] : services_) {
    if (!service.retired || service.retired->ElapsedMs() < options_.retry_pause_ms) continue;
    if (HasAbandoned(id)) continue;  // still busy with an old launch
    service.retired.reset();
    service.had_second_chance = true;
    service.checked.clear();
    service.failures_in_a_row = kFailuresBeforeRetirement - 1;
    --programs_on_pause_;
    ProgramPlacement& placement = report_.programs[service.placement];
    placement.in_service = true;
    placement.refusal.clear();
  }
}

void NpuLaunches::RetireAll(const std::string& reason) {
  for (const auto& [id, service] : services_) Retire(id, reason, Again::kNever);
}

std::vector<DegradationEvent> NpuLaunches::TakeEvents() { return std::exchange(events_, {}); }

PlacementReport NpuLaunches::report() const {
  PlacementReport report = report_;
  report.health = device_.health();
  return report;
}

bool NpuLaunches::HasAbandoned(const ProgramId& id) const {
  return std::any_of(abandoned_.begin(), abandoned_.end(),
                     [&](const Abandoned& abandoned) { return abandoned.function->id == id; });
}

}  // namespace npumoe
