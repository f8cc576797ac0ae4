// What the fleet does when a worker ends, by itself or because it must.
#include <fmt/format.h>

#include <utility>

#include "base/log.h"
#include "npu/worker/worker_fleet.h"

namespace npumoe::worker {
namespace {

// A crash may be bad luck once; chosen.
constexpr int kMaxFailuresInARow = 3;
// SIGKILL comes from a person or from a system that is short of memory, and says less about the
// program; chosen.
constexpr int kMaxKillsInARow = 10;
// Of workers that had nothing to do yet: somebody kills faster than they start. Seconds; chosen.
constexpr int kMaxUselessKills = 1000;
constexpr int64_t kMaxLogLines = 200;  // of all workers, passed on
constexpr int64_t kMaxWarnings = 3;    // of one reason; the placement report counts them all

std::string ReasonOf(const WorkerLink::Stopped& stopped) {
  if (stopped.cause.kind != EndCause::Kind::kEnded) return stopped.cause.reason;
  if (!stopped.end) return "hung up, and does not end";
  return "ended with " + stopped.end->words;
}

bool IsKilledFromOutside(const WorkerLink::Stopped& stopped) {
  return stopped.cause.kind == EndCause::Kind::kEnded && stopped.end &&
         stopped.end->killed_from_outside;
}

}  // namespace

void WorkerFleet::StartLink(WorkerLink& link) {
  const Status status = link.Start(program_);
  if (status.ok()) return;
  if (start_error_.ok()) start_error_ = status;
  BreakLink(link, status.message());
}

std::string WorkerFleet::Doing(const Operation& operation) const {
  if (operation.kind == Operation::Kind::kSupports) return "during a question";
  const bool launch = operation.kind == Operation::Kind::kLaunch;
  const int64_t id =
      launch ? requests_.at(static_cast<RequestId>(operation.id)).call.program : operation.id;
  const auto program = programs_.find(id);
  return fmt::format("{} {}", launch ? "during a launch of" : "while loading",
                     program == programs_.end() ? "a program" : program->second.name);
}

void WorkerFleet::EndLink(WorkerLink& link, EndCause cause) {
  for (auto& [id, hosted] : programs_) {
    if (hosted.worker == link.index()) hosted.asked = hosted.resident = false;
  }
  std::erase_if(programs_, [&](const auto& entry) {
    return entry.second.worker == link.index() && entry.second.abandoned;
  });
  link.BeginEnd(std::move(cause));
  CheckEnd(link);
}

void WorkerFleet::CheckEnd(WorkerLink& link) {
  link.CollectLeft();
  if (link.state() != WorkerLink::State::kEnding) return;
  const auto stopped = link.TakeEnd();
  if (!stopped) return;
  Log(link, stopped->last_lines);
  const std::string reason = ReasonOf(*stopped);
  ++restarts_;
  const std::string doing =
      stopped->unanswered.empty() ? "while idle" : Doing(stopped->unanswered.front());
  const std::string message =
      fmt::format("npu worker {}: {} {}; it is started again", link.index() + 1, reason,
                  stopped->was_starting ? "while starting" : doing);
  if (++reasons_[reason] <= kMaxWarnings) {
    LogWarning(message);
  } else {
    LogInfo(message);
  }
  if (!stopped->unanswered.empty()) Blame(*stopped);
  ReturnWork(*stopped);
  if (stopped->unanswered.empty()) CountUselessLife(link, *stopped);
  changed_.notify_all();
}

// Nothing that it was asked is to blame: the program that runs as a worker is.
void WorkerFleet::CountUselessLife(WorkerLink& link, const WorkerLink::Stopped& stopped) {
  int& failures = useless_lives_[static_cast<size_t>(link.index())];
  if (++failures < (IsKilledFromOutside(stopped) ? kMaxUselessKills : kMaxFailuresInARow)) return;
  const Status failure =
      Unsupported(fmt::format("{} does not work as a worker: {} {} times in a row",
                              program_.string(), ReasonOf(stopped), failures));
  if (start_error_.ok()) start_error_ = failure;
  BreakLink(link, failure.message());
}

// What the worker was doing counts against it.
void WorkerFleet::Blame(const WorkerLink::Stopped& stopped) {
  const Operation& oldest = stopped.unanswered.front();
  const std::string reason = ReasonOf(stopped);
  if (oldest.kind == Operation::Kind::kSupports) {
    queries_.at(oldest.id).answer =
        Unsupported(fmt::format("the worker that was asked: {}", reason));
    return;
  }
  const bool is_load = oldest.kind == Operation::Kind::kLoad;
  const int64_t id =
      is_load ? oldest.id : requests_.at(static_cast<RequestId>(oldest.id)).call.program;
  const auto found = programs_.find(id);
  if (found == programs_.end()) return;
  Hosted& hosted = found->second;
  if (is_load && stopped.cause.kind == EndCause::Kind::kDeadline) {  // it has had all the time
    return FailProgram(id, Status(StatusCode::kDeadlineExceeded,
                                  fmt::format("loading {}: {}", hosted.name, reason)));
  }
  const int failures = is_load ? ++hosted.load_failures : ++hosted.launch_failures;
  if (failures < (IsKilledFromOutside(stopped) ? kMaxKillsInARow : kMaxFailuresInARow)) return;
  FailProgram(id, Unsupported(fmt::format(
                      "{} ended its worker {} times in a row {}; the last time: {}", hosted.name,
                      failures, is_load ? "while it was loaded" : "in a launch", reason)));
}

// Launches that were not answered are sent again; those of programs that are unloaded are not.
void WorkerFleet::ReturnWork(const WorkerLink::Stopped& stopped) {
  for (const Operation& operation : stopped.unanswered) {
    if (operation.kind == Operation::Kind::kSupports) {
      queries_.at(operation.id).asked = false;
    }
    if (operation.kind != Operation::Kind::kLaunch) continue;
    Request& request = requests_.at(static_cast<RequestId>(operation.id));
    if (request.state != Request::State::kSent) continue;  // failed with its program
    request.state = Request::State::kReleased;
    const auto program = programs_.find(request.call.program);
    if (program == programs_.end() || program->second.unloading) {
      Finish(request, {StatusCode::kCancelled, "the program was unloaded while it ran"});
    }
  }
}

void WorkerFleet::BreakLink(WorkerLink& link, const std::string& reason) {
  link.Break();
  const Status lost(StatusCode::kDeviceLost,
                    fmt::format("npu worker {} cannot be started: {}", link.index() + 1, reason));
  for (auto& [id, hosted] : programs_) {
    if (hosted.worker == link.index()) FailProgram(id, lost);
  }
  for (auto& [id, query] : queries_) {
    if (query.worker == link.index() && !query.answer.has_value()) query.answer = lost;
  }
  changed_.notify_all();
}

void WorkerFleet::FailProgram(int64_t id, const Status& failure) {
  Hosted& hosted = programs_.at(id);
  hosted.state = Hosted::State::kFailed;
  hosted.failure = failure;
  hosted.asked = hosted.resident = false;
  for (auto& [request_id, request] : requests_) {
    const bool open = request.state != Request::State::kDone;
    if (open && request.call.program == id) Finish(request, failure);
  }
  changed_.notify_all();
}

void WorkerFleet::Finish(Request& request, const Status& status) {
  request.status = status;
  request.state = Request::State::kDone;
  changed_.notify_all();
}

void WorkerFleet::Log(const WorkerLink& link, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    if (++log_lines_ > kMaxLogLines) return;
    LogWarning(fmt::format("npu worker {}: {}", link.index() + 1, line));
    if (log_lines_ == kMaxLogLines) LogWarning("npu workers: more of their output is left out");
  }
}

}  // namespace npumoe::worker
