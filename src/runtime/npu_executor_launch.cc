// The life of a launch: buffers, submission, collection in order, failure, release.
#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "runtime/npu_executor.h"
#include "runtime/prefill_timeline.h"

namespace npumoe {
namespace {

// Rows of a program's first launch that are checked; chosen.
constexpr int kFirstCheckRows = 4;

const char* KindOf(const Status& failure) {
  switch (failure.code()) {
    case StatusCode::kDeadlineExceeded:
      return "deadline";
    case StatusCode::kNumeric:
      return "numeric";
    default:
      return "launch";
  }
}

// Without waiting for repetitions.
bool RetiresAtOnce(const Status& failure) {
  return failure.code() == StatusCode::kDeadlineExceeded ||
         failure.code() == StatusCode::kUnsupported;
}

}  // namespace

int64_t Launch::FilledRows() const {
  int64_t filled = 0;
  for (const std::span<const int32_t> slot : slots) filled += static_cast<int64_t>(slot.size());
  return filled;
}

NpuExecutor::~NpuExecutor() {
  Drain();
  ReclaimAbandoned(options_.timeout_ms);
  for (Abandoned& stuck : abandoned_) {
    LogWarning(fmt::format("layer {} program {} never finished a launch; its memory is not freed",
                           stuck.program->layer(), stuck.program->index()));
    for (DeviceBuffer* buffer : stuck.buffers) buffers_.Leak(buffer);
    stuck.program->Leak();
  }
}

bool NpuExecutor::AcquireBuffers(Launch& launch) {
  Program& program = launch.program->program();
  const auto acquire = [&](const std::vector<TensorSpec>& specs,
                           std::vector<DeviceBuffer*>& buffers) -> Status {
    buffers.clear();
    for (const TensorSpec& spec : specs) {
      NPUMOE_ASSIGN_OR_RETURN(DeviceBuffer * buffer, buffers_.Acquire(program, spec));
      buffers.push_back(buffer);
    }
    return OkStatus();
  };
  Status status = acquire(program.inputs(), launch.inputs);
  if (status.ok()) status = acquire(program.outputs(), launch.outputs);
  if (!status.ok()) Fail(launch, "launch", status.WithContext("device buffers"));
  return status.ok();
}

bool NpuExecutor::IsFull() const {
  return max_requests_in_flight_ > 0 && !in_flight_.empty() &&
         static_cast<int64_t>(in_flight_.size() + abandoned_.size()) >= max_requests_in_flight_;
}

void NpuExecutor::Submit(Launch& launch, PrefillTimeline& timeline) {
  while (IsFull()) {
    const Launch& oldest = *in_flight_.front();
    Await(oldest, timeline);
    timeline.WaitUntil(oldest.end_ms);
  }
  launch.submitted_ms = timeline.now_ms();
  launch.end_ms = 0;
  const auto request =
      device_.Submit({&launch.program->program(), launch.inputs, launch.outputs, launch.rows});
  if (!request.ok()) {
    Fail(launch, KindOf(request.status()), request.status());
    return;
  }
  launch.request = *request;
  launch.state = Launch::State::kSubmitted;
  in_flight_.push_back(&launch);
}

bool NpuExecutor::Poll(const Launch& launch, PrefillTimeline& timeline) {
  if (launch.state == Launch::State::kSubmitted && !time_source_) return false;  // not known yet
  if (time_source_ == TimeSource::kModelled) Await(launch, timeline);
  while (launch.state == Launch::State::kSubmitted) {
    const size_t before = in_flight_.size();
    CollectFront(Waiting::kPoll, &timeline);
    if (in_flight_.size() == before) return false;
  }
  return true;
}

void NpuExecutor::Await(const Launch& launch, PrefillTimeline& timeline) {
  while (launch.state == Launch::State::kSubmitted) {
    CollectFront(Waiting::kUntilDeadline, &timeline);
  }
}

void NpuExecutor::Drain() {
  while (!in_flight_.empty()) CollectFront(Waiting::kUntilDeadline, nullptr);
}

void NpuExecutor::CollectFront(Waiting waiting, PrefillTimeline* timeline) {
  NPUMOE_CHECK(!in_flight_.empty());
  Launch& launch = *in_flight_.front();
  const double timeout_ms = waiting == Waiting::kPoll ? 0 : options_.timeout_ms;
  const auto report = device_.Wait(launch.request, timeout_ms);
  const bool running = !report.ok() && report.status().code() == StatusCode::kDeadlineExceeded;
  if (running && waiting == Waiting::kPoll) return;
  in_flight_.pop_front();
  if (!report.ok()) {
    if (running) Abandon(launch);
    Fail(launch, KindOf(report.status()), report.status());
    return;
  }
  launch.state = Launch::State::kDone;
  launch.report = *report;
  const int layer = launch.program->layer();
  const int program = launch.program->index();
  if (timeline != nullptr) {
    launch.end_ms = timeline->AddLaunch(launch.chunk, layer, program, launch.submitted_ms, *report);
  }
  time_source_ = report->modelled ? TimeSource::kModelled : TimeSource::kMeasured;
  report_.modelled = report->modelled;
  if (launch.purpose == Launch::Purpose::kVerify) return;
  PlacementOf(layer, program).npu_time_ms += report->time_ms;
  report_.npu_time_ms += report->time_ms;
  report_.npu_energy_j += report->energy_j;
}

void NpuExecutor::RejectOutput(Launch& launch) {
  Fail(launch, "numeric",
       Status(StatusCode::kNumeric, "the device answered with NaN or infinite values"));
}

void NpuExecutor::RejectNumbers(Launch& launch, double error) {
  const bool first = IsFirst(launch);
  Fail(launch, first ? "first check" : "spot check",
       Status(StatusCode::kNumeric,
              fmt::format("a row differs from the CPU's by {:.2g} of its largest value", error)));
  if (first) {
    Retire(launch.program->layer(), launch.program->index(),
           "its first launch did not compute what the CPU does", Again::kOnceAfterPause);
  }
}

bool NpuExecutor::IsFirst(const Launch& launch) {
  return !StateOf(launch.program->layer(), launch.program->index())
              .checked.contains(launch.program);
}

NpuExecutor::Checks NpuExecutor::NextChecks(const Launch& launch) {
  if (options_.verification == Verification::kOff) return {};
  return {IsFirst(launch) ? kFirstCheckRows : 1, ++launches_checked_};
}

void NpuExecutor::Fail(Launch& launch, const std::string& what, const Status& failure) {
  launch.state = Launch::State::kFailed;
  launch.failure = failure;
  const int layer = launch.program->layer();
  const int program = launch.program->index();
  Count(PlacementOf(layer, program), what, failure.message());
  if (failure.code() == StatusCode::kDeviceLost) {
    RetireAll("device lost: " + failure.message());
    return;
  }
  int& failures = StateOf(layer, program).failures_in_a_row;
  if (++failures >= kFailuresBeforeRetirement || RetiresAtOnce(failure)) {
    Retire(
        layer, program,
        fmt::format("out of service after {} failed launch(es): {}", failures, failure.message()),
        failure.code() == StatusCode::kUnsupported ? Again::kNever : Again::kOnceAfterPause);
  }
}

void NpuExecutor::Release(Launch& launch) {
  if (launch.state == Launch::State::kDone && launch.purpose == Launch::Purpose::kPrefill) {
    ProgramPlacement& placement = PlacementOf(launch.program->layer(), launch.program->index());
    placement.launches += 1;
    placement.capacity_rows += launch.program->planned().CapacityRows();
    placement.filled_rows += launch.FilledRows();
    ProgramState& state = StateOf(launch.program->layer(), launch.program->index());
    state.failures_in_a_row = 0;
    state.checked.insert(launch.program);
  }
  for (DeviceBuffer* buffer : launch.inputs) buffers_.Release(buffer);
  for (DeviceBuffer* buffer : launch.outputs) buffers_.Release(buffer);
  launch.inputs.clear();
  launch.outputs.clear();
  if (!abandoned_.empty()) ReclaimAbandoned(0);
}

void NpuExecutor::Abandon(Launch& launch) {
  Abandoned abandoned{launch.request, launch.program, launch.inputs};
  abandoned.buffers.insert(abandoned.buffers.end(), launch.outputs.begin(), launch.outputs.end());
  abandoned_.push_back(std::move(abandoned));
  launch.inputs.clear();
  launch.outputs.clear();
}

void NpuExecutor::ReclaimAbandoned(double timeout_ms) {
  std::erase_if(abandoned_, [&](const Abandoned& abandoned) {
    const auto report = device_.Wait(abandoned.request, timeout_ms);
    if (!report.ok() && report.status().code() == StatusCode::kDeadlineExceeded) return false;
    for (DeviceBuffer* buffer : abandoned.buffers) buffers_.Release(buffer);
    return true;
  });
}

bool NpuExecutor::HasAbandoned(int layer, int program) const {
  return std::any_of(abandoned_.begin(), abandoned_.end(), [&](const Abandoned& abandoned) {
    return abandoned.program->layer() == layer && abandoned.program->index() == program;
  });
}

}  // namespace npumoe
