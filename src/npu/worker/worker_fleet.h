// WorkerFleet: programs spread over worker processes, and what keeps them alive. One supervisor
// thread starts the workers, reads what they answer, ends and restarts those that crash, hang or
// talk nonsense, loads their programs again and repeats the launches that had not been answered:
// inputs lie in shared memory, so nothing is lost.
//
// Blame: what a worker was doing when it ended counts against that program. After
// kMaxFailuresInARow ends without a success between them the program fails for good (kUnsupported,
// with the reason) and is not loaded again, so that it cannot take the others down for ever.
//
// Thread rules: every function from any thread.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "npu/device.h"
#include "npu/emulator/fault_injector.h"
#include "npu/profile.h"
#include "npu/worker/shared_memory.h"
#include "npu/worker/worker_device.h"
#include "npu/worker/worker_link.h"

namespace npumoe::worker {

class WorkerFleet {
 public:
  // Returns when all workers have opened their device.
  static Result<std::shared_ptr<WorkerFleet>> Create(const ChipProfile& profile,
                                                     const WorkerDeviceOptions& options,
                                                     std::vector<emulator::Fault> faults);
  ~WorkerFleet();

  DeviceInfo info() const;
  DeviceHealth health() const;
  SharedArena& arena() { return arena_; }

  Status Supports(const std::string& package, const std::string& function);
  // The answer of the worker; Loaded::program is the program's number.
  Result<Loaded> Load(const std::string& package, const std::string& function);
  void Unload(int64_t program);
  Result<RequestId> Submit(LaunchCall call);
  Result<LaunchReport> Wait(RequestId request, double timeout_ms);
  Status Reopen();

 private:
  struct Hosted {  // a program
    int worker = 0;
    std::string package, function, name;
    enum class State { kLoading, kLoaded, kFailed } state = State::kLoading;
    Status failure;
    Loaded loaded;
    bool asked = false;      // its worker was asked to load it, in this life of the worker
    bool resident = false;   // and has done so
    bool was_asked = false;  // in any life
    bool unloading = false;
    bool abandoned = false;  // unloaded while it was being loaded again
    int load_failures = 0;   // ends of its worker in a row
    int launch_failures = 0;
  };
  struct Request {
    LaunchCall call;
    int worker = 0;
    enum class State { kHeld, kReleased, kSent, kDone } state = State::kHeld;
    bool was_sent = false;
    Status status;
    LaunchReport report;
  };
  struct Query {
    worker::Supports question;
    int worker = 0;
    bool asked = false;
    std::optional<Status> answer;
  };

  WorkerFleet(const ChipProfile& profile, const WorkerDeviceOptions& options,
              std::vector<emulator::Fault> faults);

  // Calls of others (worker_fleet.cc). All private functions need the lock.
  int LeastLoadedWorker() const;
  void Wake();
  bool IsSettled(RequestId request) const;

  // The supervisor (worker_supervisor.cc).
  void Supervise();
  void Poll(std::unique_lock<std::mutex>& lock);
  double NextDeadlineMs(double now_ms) const;
  double LimitMs(const WorkerLink& link) const;
  void ServeLink(WorkerLink& link);
  Status HandleFrame(WorkerLink& link, const Frame& frame);
  Status HandleAnswer(WorkerLink& link, const Frame& frame);
  Status TakeLoaded(WorkerLink& link, Loaded loaded);
  void Pump(WorkerLink& link);
  void AskToLoad(WorkerLink& link, int64_t id, Hosted& hosted);
  void SendLaunch(WorkerLink& link, RequestId id, Request& request);
  void CheckDeadline(WorkerLink& link);

  // Ends and restarts (worker_recovery.cc).
  void StartLink(WorkerLink& link);
  void EndLink(WorkerLink& link, EndCause cause);
  void CheckEnd(WorkerLink& link);
  void CountUselessLife(WorkerLink& link, const WorkerLink::Stopped& stopped);
  void Blame(const WorkerLink::Stopped& stopped);
  void ReturnWork(const WorkerLink::Stopped& stopped);
  void BreakLink(WorkerLink& link, const std::string& reason);
  void FailProgram(int64_t id, const Status& failure);
  void Finish(Request& request, const Status& status);
  void Log(const WorkerLink& link, const std::vector<std::string>& lines);
  std::string Doing(const Operation& operation) const;

  const WorkerDeviceOptions options_;
  const size_t max_requests_;
  const Configure configure_;
  const std::filesystem::path program_;
  emulator::FaultInjector faults_;
  SharedArena arena_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<WorkerLink> links_;
  std::vector<int> useless_lives_;  // of each link, in a row: ended without an answer or a question
  std::map<int64_t, Hosted> programs_;
  std::map<RequestId, Request> requests_;  // submitted and not collected
  std::map<int64_t, Query> queries_;
  int64_t next_id_ = 1;
  Configured opened_;  // what the workers' device calls itself
  Status start_error_;
  int64_t restarts_ = 0;
  int64_t replays_ = 0;
  std::map<std::string, int64_t> reasons_;
  int64_t log_lines_ = 0;
  bool stopping_ = false;
  FileDescriptor wake_read_, wake_write_;
  std::thread supervisor_;
};

}  // namespace npumoe::worker
