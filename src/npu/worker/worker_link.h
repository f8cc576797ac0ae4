// WorkerLink: the engine's side of one worker: its process, its connection, and what it has been
// asked and has not answered. The fleet (worker_fleet.h) decides; its lock guards this.
#pragma once

#include <deque>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "npu/worker/channel.h"
#include "npu/worker/messages.h"
#include "npu/worker/worker_process.h"

namespace npumoe::worker {

// Something that a worker was asked. Workers answer in order.
struct Operation {
  enum class Kind { kLoad, kSupports, kLaunch };
  Kind kind = Kind::kLoad;
  int64_t id = 0;  // of program, query or request
};

// Why a worker is ended.
struct EndCause {
  enum class Kind { kEnded, kDeadline, kDeviceLost, kProtocol };
  Kind kind = Kind::kEnded;
  std::string reason;
};

// No function waits, but for Finish.
class WorkerLink {
 public:
  // kEnding: it was told to end, and the system has not said yet that it has.
  enum class State { kStopped, kStarting, kReady, kEnding, kBroken };

  explicit WorkerLink(int index) : index_(index) {}

  int index() const { return index_; }
  State state() const { return state_; }
  int fd() const { return channel_.fd(); }
  // Nothing to wait for while it ends: the rest of its log is read at the end.
  int log() const { return state_ == State::kEnding ? -1 : process_.log(); }
  bool wants_to_write() const { return channel_.wants_to_write(); }
  bool asked() const { return !asked_.empty(); }
  const Operation& oldest() const { return asked_.front(); }
  // How long the oldest has been the oldest, or the start or the end has lasted.
  double waiting_ms(double now_ms) const { return now_ms - since_ms_; }

  // A process; says hello.
  Status Start(const std::filesystem::path& program);
  // Answers of the handshake, in state kStarting. True: it is ready, and `info` is filled.
  Result<bool> Greet(const Frame& frame, const Configure& configure, Configured& info);
  void Send(std::vector<std::byte> frame) { channel_.Queue(std::move(frame)); }
  void SendSegment(int64_t segment, size_t bytes, int descriptor);
  bool HasSegment(int64_t segment) const { return segments_.contains(segment); }
  void Ask(const Operation& operation, std::vector<std::byte> frame);
  // The oldest was answered.
  void Answered();
  Status Flush() { return channel_.Flush(); }
  Result<EngineChannel::Readable> Read() { return channel_.Read(); }
  Result<std::optional<Frame>> Next() { return channel_.Next(); }
  // Whole lines that the worker has written to stderr.
  std::vector<std::string> TakeLogLines();
  // State kEnding. Kills the process, but for one that hung up: it may be ending by itself, and how
  // says whose fault it was; TakeEnd kills it when it does not.
  void BeginEnd(EndCause cause);
  // In state kEnding: how it ended and what it had not answered, once it has ended or has been
  // given up; the worker can be started again then.
  struct Stopped {
    EndCause cause;
    bool was_starting = false;
    std::optional<ProcessEnd> end;  // none: SIGKILL has not ended it
    std::deque<Operation> unanswered;
    std::vector<std::string> last_lines;
  };
  std::optional<Stopped> TakeEnd();
  // A worker of which nobody wants to know how it ends.
  void Break();
  void Unbreak() { state_ = State::kStopped; }
  // Processes that were killed and have not ended; CollectLeft collects those that have.
  bool has_left() const { return !left_.empty(); }
  void CollectLeft();
  // Lets an idle worker end by itself. Waits for it, but not for ever.
  void Finish();

 private:
  void Restamp();
  void Forget();

  int index_;
  State state_ = State::kStopped;
  bool greeted_ = false;
  EndCause cause_;
  bool was_starting_ = false;
  WorkerProcess process_;
  std::vector<WorkerProcess> left_;
  EngineChannel channel_;
  std::deque<Operation> asked_;
  std::set<int64_t> segments_;  // that this process has mapped
  std::string log_rest_;        // a line that has not ended
  double since_ms_ = 0;
};

}  // namespace npumoe::worker
