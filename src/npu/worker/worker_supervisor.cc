// The fleet's supervisor: one thread that talks to all workers.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "npu/worker/worker_fleet.h"

namespace npumoe::worker {
namespace {

bool IsDeviceLost(const Status& status) { return status.code() == StatusCode::kDeviceLost; }

Status OutOfTurn() { return InvalidInput("it answered what it was not asked"); }

}  // namespace

void WorkerFleet::Supervise() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    for (WorkerLink& link : links_) {
      if (link.state() == WorkerLink::State::kStopped) StartLink(link);
    }
    Poll(lock);
    for (WorkerLink& link : links_) {
      ServeLink(link);
      CheckDeadline(link);
      CheckEnd(link);
      Pump(link);
    }
  }
  for (WorkerLink& link : links_) link.Finish();
}

// How long the link may go without an answer.
double WorkerFleet::LimitMs(const WorkerLink& link) const {
  if (link.state() == WorkerLink::State::kStarting) return options_.start_deadline_ms;
  if (link.state() != WorkerLink::State::kReady || !link.asked()) return INFINITY;
  return link.oldest().kind == Operation::Kind::kLaunch ? options_.launch_deadline_ms
                                                        : options_.load_timeout_ms;
}

double WorkerFleet::NextDeadlineMs(double now_ms) const {
  constexpr double kEndingMs = 1, kLeftMs = 1000;  // how often one looks whether they have ended
  double next = INFINITY;
  for (const WorkerLink& link : links_) {
    if (link.state() == WorkerLink::State::kEnding) next = std::min(next, kEndingMs);
    if (link.has_left()) next = std::min(next, kLeftMs);
    next = std::min(next, LimitMs(link) - link.waiting_ms(now_ms));
  }
  return next;
}

// Sleeps until something comes or a deadline passes.
void WorkerFleet::Poll(std::unique_lock<std::mutex>& lock) {
  constexpr double kLongestSleepMs = 60e3;
  std::vector<pollfd> fds = {{wake_read_.get(), POLLIN, 0}};
  for (const WorkerLink& link : links_) {
    const int events = link.wants_to_write() ? POLLIN | POLLOUT : POLLIN;
    fds.push_back({link.fd(), static_cast<short>(events), 0});  // negative ones are passed over
    fds.push_back({link.log(), POLLIN, 0});
  }
  const double sleep_ms = std::clamp(NextDeadlineMs(SteadyClock().NowMs()), 0.0, kLongestSleepMs);
  lock.unlock();
  poll(fds.data(), static_cast<nfds_t>(fds.size()), static_cast<int>(std::ceil(sleep_ms)));
  std::array<char, 256> bytes;
  while (read(wake_read_.get(), bytes.data(), bytes.size()) > 0) {
  }
  lock.lock();
}

void WorkerFleet::ServeLink(WorkerLink& link) {
  if (link.fd() < 0) return;
  Log(link, link.TakeLogLines());
  const auto readable = link.Read();
  while (true) {
    const auto frame = link.Next();
    if (!frame.ok()) return EndLink(link, {EndCause::Kind::kProtocol, frame.status().message()});
    if (!frame->has_value()) break;
    const Status status = HandleFrame(link, **frame);
    if (link.state() == WorkerLink::State::kStopped || link.state() == WorkerLink::State::kBroken) {
      return;
    }
    if (IsDeviceLost(status)) {
      return EndLink(link, {EndCause::Kind::kDeviceLost, status.message()});
    }
    if (!status.ok()) return EndLink(link, {EndCause::Kind::kProtocol, status.message()});
  }
  if (!readable.ok() || *readable == EngineChannel::Readable::kEnded) {
    EndLink(link, {EndCause::Kind::kEnded, ""});
  }
}

Status WorkerFleet::HandleFrame(WorkerLink& link, const Frame& frame) {
  if (link.state() == WorkerLink::State::kReady) return HandleAnswer(link, frame);
  Configured info;
  NPUMOE_ASSIGN_OR_RETURN(const bool finished, link.Greet(frame, configure_, info));
  if (!finished) return OkStatus();
  if (!info.status.ok()) {  // the next start would say the same
    start_error_ = info.status;
    BreakLink(link, info.status.message());
    return OkStatus();
  }
  opened_ = std::move(info);
  changed_.notify_all();
  return OkStatus();
}

// kDeviceLost: the worker's device is gone. Other errors: the worker is out of its mind.
Status WorkerFleet::HandleAnswer(WorkerLink& link, const Frame& frame) {
  if (!link.asked()) return OutOfTurn();
  const Operation oldest = link.oldest();
  useless_lives_[static_cast<size_t>(link.index())] = 0;
  if (frame.type == MessageType::kLoaded) {
    NPUMOE_ASSIGN_OR_RETURN(auto loaded, Decode<Loaded>(frame.payload));
    if (oldest.kind != Operation::Kind::kLoad || loaded.program != oldest.id) return OutOfTurn();
    if (IsDeviceLost(loaded.status)) return loaded.status;
    link.Answered();
    return TakeLoaded(link, std::move(loaded));
  }
  if (frame.type == MessageType::kSupported) {
    NPUMOE_ASSIGN_OR_RETURN(const auto supported, Decode<Supported>(frame.payload));
    if (oldest.kind != Operation::Kind::kSupports || supported.query != oldest.id) {
      return OutOfTurn();
    }
    if (IsDeviceLost(supported.status)) return supported.status;
    link.Answered();
    queries_.at(oldest.id).answer = supported.status;
    changed_.notify_all();
    return OkStatus();
  }
  if (frame.type != MessageType::kDone) return OutOfTurn();
  NPUMOE_ASSIGN_OR_RETURN(const auto done, Decode<Done>(frame.payload));
  if (oldest.kind != Operation::Kind::kLaunch || done.request != oldest.id) return OutOfTurn();
  if (IsDeviceLost(done.status)) return done.status;
  link.Answered();
  Request& request = requests_.at(static_cast<RequestId>(oldest.id));
  request.report = done.report;
  Finish(request, done.status);
  if (const auto hosted = programs_.find(request.call.program);
      done.status.ok() && hosted != programs_.end()) {
    hosted->second.launch_failures = 0;
  }
  return OkStatus();
}

Status WorkerFleet::TakeLoaded(WorkerLink& link, Loaded loaded) {
  const auto found = programs_.find(loaded.program);
  NPUMOE_CHECK(found != programs_.end());  // Unload leaves it while an answer is to come
  Hosted& hosted = found->second;
  hosted.asked = false;
  if (hosted.abandoned) {
    if (loaded.status.ok()) link.Send(Encode(worker::Unload{loaded.program}));
    programs_.erase(found);
    return OkStatus();
  }
  if (!loaded.status.ok()) {
    FailProgram(loaded.program, loaded.status);
    return OkStatus();
  }
  const auto same = [](const TensorSpec& a, const TensorSpec& b) {
    return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape;
  };
  if (hosted.state == Hosted::State::kLoaded &&
      !(std::ranges::equal(loaded.inputs, hosted.loaded.inputs, same) &&
        std::ranges::equal(loaded.outputs, hosted.loaded.outputs, same))) {
    link.Send(Encode(worker::Unload{loaded.program}));
    FailProgram(loaded.program,
                InvalidInput(fmt::format("{}: the package changed while it was in use; compile "
                                         "this plan again",
                                         hosted.package)));
    return OkStatus();
  }
  hosted.state = Hosted::State::kLoaded;
  hosted.resident = true;
  hosted.load_failures = 0;
  hosted.loaded = std::move(loaded);
  changed_.notify_all();
  return OkStatus();
}

void WorkerFleet::AskToLoad(WorkerLink& link, int64_t id, Hosted& hosted) {
  if (std::exchange(hosted.was_asked, true)) ++replays_;
  hosted.asked = true;
  link.Ask({Operation::Kind::kLoad, id},
           Encode(worker::Load{id, hosted.package, hosted.function, faults_.OnLoad(hosted.name)}));
}

void WorkerFleet::SendLaunch(WorkerLink& link, RequestId id, Request& request) {
  for (const auto* places : {&request.call.inputs, &request.call.outputs}) {
    for (const BufferPlace& place : *places) {
      if (link.HasSegment(place.segment)) continue;
      const SharedArena::SegmentInfo segment = arena_.Segment(place.segment);
      link.SendSegment(place.segment, segment.bytes, segment.descriptor);
    }
  }
  if (request.was_sent) ++replays_;
  request.was_sent = true;
  request.state = Request::State::kSent;
  request.call.faults = faults_.OnLaunch(programs_.at(request.call.program).name);
  link.Ask({Operation::Kind::kLaunch, static_cast<int64_t>(id)}, Encode(request.call));
}

// Sends the worker what it has not been asked yet.
void WorkerFleet::Pump(WorkerLink& link) {
  if (link.state() == WorkerLink::State::kReady) {
    for (auto& [id, hosted] : programs_) {
      const bool missing = hosted.worker == link.index() && !hosted.asked && !hosted.resident &&
                           !hosted.unloading && hosted.state != Hosted::State::kFailed;
      if (missing) AskToLoad(link, id, hosted);
    }
    for (auto& [id, query] : queries_) {
      if (query.worker != link.index() || query.asked || query.answer.has_value()) continue;
      query.asked = true;
      link.Ask({Operation::Kind::kSupports, id}, Encode(query.question));
    }
    for (auto& [id, request] : requests_) {
      if (request.worker != link.index() || request.state != Request::State::kReleased) continue;
      if (programs_.at(request.call.program).resident) SendLaunch(link, id, request);
    }
  }
  // A worker that is gone shows when its end of the connection is read.
  if (link.fd() >= 0) static_cast<void>(link.Flush());
}

void WorkerFleet::CheckDeadline(WorkerLink& link) {
  const double limit_ms = LimitMs(link);
  if (link.waiting_ms(SteadyClock().NowMs()) < limit_ms) return;
  EndLink(link, {EndCause::Kind::kDeadline, fmt::format("no answer within {:.0f} ms", limit_ms)});
}

}  // namespace npumoe::worker
