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

// Whether a load that failed so may succeed later. What the device cannot do, a package that is not
// there or another plan's stays so; a load that missed its limit had minutes, and would hold up a
// prefill for as long again.
bool MayLoadLater(const Status& failure) {
  switch (failure.code()) {
    case StatusCode::kUnsupported:
    case StatusCode::kInvalidInput:
    case StatusCode::kNotFound:
    case StatusCode::kDeadlineExceeded:
      return false;
    default:
      return true;
  }
}

}  // namespace

void NpuLaunches::AddProgram(const ProgramId& id, ProgramPlacement placement, const Status& load) {
  Service& service = services_[id];
  service.placement = report_.programs.size();
  placement.loaded = placement.in_service = load.ok();
  placement.refusal = load.message();
  report_.programs.push_back(std::move(placement));
  if (load.ok()) return;
  Count(id, "load", load.message());
  if (load.code() == StatusCode::kDeviceLost) is_device_lost_ = true;
  if (!MayLoadLater(load)) return;
  service.pause = Pause{{}, Again::kLoadedAnew};
  ++programs_on_pause_;
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

// What was caught is a sample: others of its rows are as wrong. It goes at once, and when it comes
// back every row is checked at first, so that from here on the answer is the right one.
void NpuLaunches::RejectNumbers(Launch& launch, double error) {
  const bool first = IsFirst(launch);
  const ProgramId& id = launch.function->id;
  Retire(id,
         first ? "its first launch did not compute what the CPU does"
               : "a launch did not compute what the CPU does",
         Again::kAsItIs);
  Service& service = ServiceOf(id);
  service.is_distrusted = true;
  service.rows_on_probation = kRowsOnProbation;
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
  const bool on_probation = ServiceOf(launch.function->id).rows_on_probation > 0;
  if (on_probation || options_.verification == Verification::kEveryRow) {
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
    is_device_lost_ = true;
    RetireAll("device lost: " + failure.message(), Again::kLoadedAnew);
    return;
  }
  int& failures = ServiceOf(id).failures_in_a_row;
  if (++failures >= kFailuresBeforeRetirement || RetiresAtOnce(failure)) {
    Retire(
        id,
        fmt::format("out of service after {} failed launch(es): {}", failures, failure.message()),
        failure.code() == StatusCode::kUnsupported ? Again::kNever : Again::kAsItIs);
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
  if (service.pause && again == Again::kLoadedAnew) service.pause->again = again;
  if (service.pause && again == Again::kNever) EndPause(service);
  if (!placement.in_service) return;
  placement.in_service = false;
  placement.refusal = reason;
  if (again == Again::kNever || service.had_second_chance) return;
  service.pause = Pause{{}, again};
  ++programs_on_pause_;
}

void NpuLaunches::RetireAll(const std::string& reason, Again again) {
  for (const auto& [id, service] : services_) Retire(id, reason, again);
}

bool NpuLaunches::IsPauseOver(Service& service) {
  return service.pause && service.pause->since.ElapsedMs() >= options_.retry_pause_ms;
}

void NpuLaunches::EndPause(Service& service) {
  service.pause.reset();
  --programs_on_pause_;
}

void NpuLaunches::TakeBack(Service& service) {
  service.had_second_chance = true;
  service.is_distrusted = false;
  service.checked.clear();
  service.failures_in_a_row = kFailuresBeforeRetirement - 1;
  ProgramPlacement& placement = report_.programs[service.placement];
  placement.came_back = placement.in_service = true;
  placement.refusal.clear();
}

void NpuLaunches::ReviveAfterPause() {
  if (programs_on_pause_ == 0) return;
  ReclaimAbandoned();  // nobody else does while nothing is launched
  for (auto& [id, service] : services_) {
    if (!IsPauseOver(service) || service.pause->again != Again::kAsItIs) continue;
    if (IsBusy(id)) continue;  // with a launch of before
    EndPause(service);
    TakeBack(service);
  }
}

std::optional<ProgramId> NpuLaunches::TakeProgramToLoad() {
  if (programs_on_pause_ == 0 || (is_device_lost_ && IsAnyBusy())) return std::nullopt;
  for (auto& [id, service] : services_) {
    if (!IsPauseOver(service) || service.pause->again != Again::kLoadedAnew) continue;
    if (IsBusy(id)) continue;
    EndPause(service);
    service.had_second_chance = true;
    return id;
  }
  return std::nullopt;
}

void NpuLaunches::LoadedAgain(const ProgramId& id, const Status& load) {
  if (load.ok()) {
    PlacementOf(id).loaded = true;
    TakeBack(ServiceOf(id));
    return;
  }
  Count(id, "load", load.message());
  PlacementOf(id).refusal = load.message();
  if (load.code() != StatusCode::kDeviceLost) return;
  is_device_lost_ = true;
  RetireAll("device lost: " + load.message(), Again::kLoadedAnew);
}

void NpuLaunches::DeviceReopened(const Status& reopened) {
  is_device_lost_ = false;
  if (reopened.ok()) {  // what was in service belonged to the device of before
    RetireAll("the device was lost, and opened again", Again::kLoadedAnew);
  } else {
    RetireAll("device lost: " + reopened.message(), Again::kNever);
  }
}

std::vector<DegradationEvent> NpuLaunches::TakeEvents() { return std::exchange(events_, {}); }

PlacementReport NpuLaunches::report() const {
  PlacementReport report = report_;
  report.health = device_.health();
  return report;
}

bool NpuLaunches::IsBusy(const ProgramId& id) const {
  return !ServiceOf(id).launches.empty() ||
         std::any_of(abandoned_.begin(), abandoned_.end(),
                     [&](const Abandoned& abandoned) { return abandoned.function->id == id; });
}

// Not counting what a device keeps for ever.
bool NpuLaunches::IsAnyBusy() const {
  return std::any_of(services_.begin(), services_.end(),
                     [](const auto& service) { return !service.second.launches.empty(); });
}

}  // namespace npumoe
