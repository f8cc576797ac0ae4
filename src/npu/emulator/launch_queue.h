// LaunchQueue: requests in the order of submission, executed by one worker thread (a device runs
// one program at a time), collected by whoever waits.
//
// Thread rules: every function from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "base/status.h"
#include "npu/device.h"
#include "npu/emulator/emulator.h"

namespace npumoe::emulator {

// Whether a request ever ends, and what that means for those behind it.
enum class Hang { kNone, kRequest, kDevice };

struct QueuedLaunch {
  const void* owner = nullptr;  // names what Forget ends
  LaunchReport report;          // the answer when `run` succeeds
  std::function<Status()> run;
  Hang hang = Hang::kNone;  // otherwise `run` is never called: only Forget ends the request
};

class LaunchQueue {
 public:
  LaunchQueue(EmulatorStart start, int64_t max_in_flight);
  // Requests that have not begun are cancelled; the one that runs is finished.
  ~LaunchQueue();
  LaunchQueue(const LaunchQueue&) = delete;
  LaunchQueue& operator=(const LaunchQueue&) = delete;

  // Fails with kResourceExhausted when max_in_flight requests were submitted and not collected.
  Result<RequestId> Submit(QueuedLaunch launch);
  Result<LaunchReport> Wait(RequestId id, double timeout_ms);
  // Cancels the owner's waiting requests and blocks while one of its requests runs. Their answer
  // is kCancelled.
  void Forget(const void* owner);

 private:
  struct Request {
    QueuedLaunch launch;
    std::optional<Status> outcome;  // set when it is done
  };
  void Work();
  bool MayStart() const;
  void Cancel(Request& request);

  const EmulatorStart start_;
  const size_t max_in_flight_;
  std::mutex mutex_;
  std::condition_variable work_arrived_;
  std::condition_variable work_done_;
  std::map<RequestId, Request> requests_;  // submitted and not collected
  std::deque<RequestId> pending_;          // not begun
  std::set<RequestId> hanging_;            // begun, will not end
  RequestId holder_ = 0;                   // a hanging request that holds the device; 0: none
  RequestId running_ = 0;                  // 0: none
  RequestId next_id_ = 1;
  RequestId released_ = 0;  // kOnWait: requests up to this one may start
  bool stopping_ = false;
  std::thread worker_;
};

}  // namespace npumoe::emulator
