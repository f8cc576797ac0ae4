// The life of a launch: buffers, submission, collection in order, release. What failures do to the
// programs: npu_service.cc.
#include "runtime/npu_launches.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "runtime/prefill_timeline.h"

namespace npumoe {
namespace {

// Chosen: programs that hang by themselves are few; a device that hangs is asked no longer.
constexpr int kDeadlinesBeforeTheDeviceIsGivenUp = 4;

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

}  // namespace

NpuLaunches::NpuLaunches(Device& device, const LaunchOptions& options)
    : device_(device), options_(options) {
  report_.device = device.info().description;
  if (options.verification == Verification::kOff) report_.device += ", numbers not verified";
}

NpuLaunches::~NpuLaunches() {
  Drain();
  LeakAbandoned();
}

void NpuLaunches::GiveUpBuffers() {
  NPUMOE_CHECK(!IsAnyBusy());
  LeakAbandoned();
  buffers_.Clear();
}

void NpuLaunches::LeakAbandoned() {
  ReclaimAbandoned();  // they have had their time
  for (Abandoned& stuck : abandoned_) {
    LogWarning(fmt::format("{} never finished a launch; its memory is not freed",
                           Describe(stuck.function->id)));
    for (DeviceBuffer* buffer : stuck.buffers) buffers_.Leak(buffer);
    stuck.function->Leak();
  }
  abandoned_.clear();
}

bool NpuLaunches::AcquireBuffers(Launch& launch) {
  ServiceOf(launch.function->id).launches.insert(&launch);
  Program& program = *launch.function->program;
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

bool NpuLaunches::IsFull() const {
  const int64_t most = options_.max_requests_in_flight;
  return most > 0 && !in_flight_.empty() &&
         static_cast<int64_t>(in_flight_.size() + abandoned_.size()) >= most;
}

void NpuLaunches::Submit(Launch& launch, PrefillTimeline& timeline) {
  while (IsFull()) {
    const Launch& oldest = *in_flight_.front();
    Await(oldest, timeline);
    timeline.WaitUntil(oldest.end_ms);
  }
  launch.submitted_ms = timeline.now_ms();
  launch.end_ms = 0;
  const auto request =
      device_.Submit({launch.function->program.get(), launch.inputs, launch.outputs, launch.rows});
  if (!request.ok()) {
    Fail(launch, KindOf(request.status()), request.status());
    return;
  }
  launch.request = *request;
  launch.state = Launch::State::kSubmitted;
  in_flight_.push_back(&launch);
}

bool NpuLaunches::Poll(const Launch& launch, PrefillTimeline& timeline) {
  if (launch.state == Launch::State::kSubmitted && !time_source_) return false;  // not known yet
  if (time_source_ == TimeSource::kModelled) Await(launch, timeline);
  while (launch.state == Launch::State::kSubmitted) {
    const size_t before = in_flight_.size();
    CollectFront(Waiting::kPoll, &timeline);
    if (in_flight_.size() == before) return false;
  }
  return true;
}

bool NpuLaunches::IsOver(const Launch& launch, PrefillTimeline& timeline) {
  return Poll(launch, timeline) && launch.end_ms <= timeline.now_ms();
}

void NpuLaunches::Await(const Launch& launch, PrefillTimeline& timeline) {
  while (launch.state == Launch::State::kSubmitted) {
    CollectFront(Waiting::kUntilDeadline, &timeline);
  }
}

void NpuLaunches::Drain() {
  while (!in_flight_.empty()) CollectFront(Waiting::kUntilDeadline, nullptr);
}

void NpuLaunches::CollectFront(Waiting waiting, PrefillTimeline* timeline) {
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
    if (running && ++deadlines_in_a_row_ >= kDeadlinesBeforeTheDeviceIsGivenUp) {
      RetireAll(fmt::format("the device missed {} deadlines in a row", deadlines_in_a_row_),
                Again::kAsItIs);
    }
    return;
  }
  deadlines_in_a_row_ = 0;
  launch.state = Launch::State::kDone;
  launch.report = *report;
  const ProgramId& id = launch.function->id;
  if (timeline != nullptr) {
    launch.end_ms = timeline->AddLaunch(launch.chunk, id, launch.submitted_ms, *report);
  }
  time_source_ = report->modelled ? TimeSource::kModelled : TimeSource::kMeasured;
  report_.modelled = report->modelled;
  if (launch.purpose == Launch::Purpose::kVerify) return;
  PlacementOf(id).npu_time_ms += report->time_ms;
  report_.npu_time_ms += report->time_ms;
  report_.npu_energy_j += report->energy_j;
}

void NpuLaunches::Accept(const Launch& launch) {
  NPUMOE_CHECK(launch.state == Launch::State::kDone);
  ProgramPlacement& placement = PlacementOf(launch.function->id);
  placement.launches += 1;
  placement.capacity_rows += launch.capacity_rows;
  placement.filled_rows += launch.filled_rows;
  Service& service = ServiceOf(launch.function->id);
  service.failures_in_a_row = 0;
  service.rows_on_probation = std::max<int64_t>(0, service.rows_on_probation - launch.filled_rows);
  service.checked.insert(launch.function);
}

void NpuLaunches::Release(Launch& launch) {
  ServiceOf(launch.function->id).launches.erase(&launch);
  for (DeviceBuffer* buffer : launch.inputs) buffers_.Release(buffer);
  for (DeviceBuffer* buffer : launch.outputs) buffers_.Release(buffer);
  launch.inputs.clear();
  launch.outputs.clear();
  if (!abandoned_.empty()) ReclaimAbandoned();
}

void NpuLaunches::Abandon(Launch& launch) {
  Abandoned abandoned{launch.request, launch.function, launch.inputs};
  abandoned.buffers.insert(abandoned.buffers.end(), launch.outputs.begin(), launch.outputs.end());
  abandoned_.push_back(std::move(abandoned));
  launch.inputs.clear();
  launch.outputs.clear();
}

void NpuLaunches::ReclaimAbandoned() {
  std::erase_if(abandoned_, [&](const Abandoned& abandoned) {
    const auto report = device_.Wait(abandoned.request, 0);
    if (!report.ok() && report.status().code() == StatusCode::kDeadlineExceeded) return false;
    for (DeviceBuffer* buffer : abandoned.buffers) buffers_.Release(buffer);
    return true;
  });
}

}  // namespace npumoe
