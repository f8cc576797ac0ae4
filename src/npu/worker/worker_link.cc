#include "npu/worker/worker_link.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

namespace npumoe::worker {
namespace {

constexpr size_t kMaxLineBytes = 1000;  // of the log; longer ones are cut into several
constexpr int kFinishMs = 1000;         // chosen: closing a device takes far less
// SIGKILL ends a process at once, but for one that sleeps in a driver or is traced; chosen.
constexpr double kEndGraceMs = 2000;
// From hanging up to the end of a process; chosen.
constexpr double kHungUpGraceMs = 200;

Status Unexpected(const Frame& frame) {
  return InvalidInput(fmt::format("it sent a message of type {} that nothing asked for",
                                  static_cast<uint32_t>(frame.type)));
}

}  // namespace

void WorkerLink::Restamp() { since_ms_ = SteadyClock().NowMs(); }

Status WorkerLink::Start(const std::filesystem::path& program) {
  NPUMOE_ASSIGN_OR_RETURN(process_, WorkerProcess::Start(program));
  channel_ = EngineChannel(process_.TakeSocket());
  state_ = State::kStarting;
  greeted_ = false;
  Restamp();
  Hello hello;
  hello.engine_pid = getpid();
  Send(Encode(hello));
  return OkStatus();
}

Result<bool> WorkerLink::Greet(const Frame& frame, const Configure& configure, Configured& info) {
  if (!greeted_) {
    if (frame.type != MessageType::kHelloReply) return Unexpected(frame);
    NPUMOE_ASSIGN_OR_RETURN(const auto reply, Decode<HelloReply>(frame.payload));
    if (reply.version != kProtocolVersion) {
      return Unsupported(fmt::format("it speaks version {} of the protocol, this engine {}",
                                     reply.version, kProtocolVersion));
    }
    greeted_ = true;
    Send(Encode(configure));
    return false;
  }
  if (frame.type != MessageType::kConfigured) return Unexpected(frame);
  NPUMOE_ASSIGN_OR_RETURN(info, Decode<Configured>(frame.payload));
  if (info.status.ok()) state_ = State::kReady;
  return true;
}

void WorkerLink::SendSegment(int64_t segment, size_t bytes, int descriptor) {
  channel_.Queue(Encode(MapSegment{segment, static_cast<int64_t>(bytes)}), descriptor);
  segments_.insert(segment);
}

void WorkerLink::Ask(const Operation& operation, std::vector<std::byte> frame) {
  Send(std::move(frame));
  asked_.push_back(operation);
  if (asked_.size() == 1) Restamp();
}

void WorkerLink::Answered() {
  asked_.pop_front();
  Restamp();
}

std::vector<std::string> WorkerLink::TakeLogLines() {
  log_rest_ += process_.ReadLog();
  std::vector<std::string> lines;
  size_t end = 0;
  while ((end = log_rest_.find('\n')) != std::string::npos || log_rest_.size() > kMaxLineBytes) {
    const bool whole = end != std::string::npos && end <= kMaxLineBytes;
    const size_t length = whole ? end : kMaxLineBytes;
    lines.push_back(log_rest_.substr(0, length));
    log_rest_.erase(0, length + (whole ? 1 : 0));
  }
  return lines;
}

void WorkerLink::BeginEnd(EndCause cause) {
  cause_ = std::move(cause);
  was_starting_ = state_ == State::kStarting;
  channel_ = EngineChannel();
  if (cause_.kind != EndCause::Kind::kEnded) process_.Kill();
  state_ = State::kEnding;
  Restamp();
}

std::optional<WorkerLink::Stopped> WorkerLink::TakeEnd() {
  Stopped stopped;
  stopped.end = process_.Collect();
  const double waited_ms = waiting_ms(SteadyClock().NowMs());
  if (!stopped.end && waited_ms >= kHungUpGraceMs) process_.Kill();
  if (!stopped.end && waited_ms < kEndGraceMs) return std::nullopt;
  stopped.cause = std::move(cause_);
  stopped.was_starting = was_starting_;
  stopped.last_lines = TakeLogLines();
  if (!log_rest_.empty()) stopped.last_lines.push_back(std::exchange(log_rest_, ""));
  stopped.unanswered = std::exchange(asked_, {});
  Forget();
  state_ = State::kStopped;
  return stopped;
}

void WorkerLink::Forget() {
  if (process_.running()) left_.push_back(std::move(process_));
  process_ = WorkerProcess();
  channel_ = EngineChannel();
  log_rest_.clear();
  segments_.clear();
}

void WorkerLink::Break() {
  process_.Kill();
  Forget();
  state_ = State::kBroken;
}

void WorkerLink::CollectLeft() {
  std::erase_if(left_, [](WorkerProcess& process) { return process.Collect().has_value(); });
}

void WorkerLink::Finish() {
  channel_ = EngineChannel();  // tells it to end
  process_.AwaitEnd(kFinishMs);
  process_ = WorkerProcess();
}

}  // namespace npumoe::worker
