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
#include <thread>

#include "base/status.h"
#include "npu/device.h"
#include "npu/emulator/emulator.h"

namespace npumoe::emulator {

class LaunchQueue {
 public:
  LaunchQueue(EmulatorStart start, int64_t max_in_flight);
  // Requests that have not begun are cancelled; the one that runs is finished.
  ~LaunchQueue();
  LaunchQueue(const LaunchQueue&) = delete;
  LaunchQueue& operator=(const LaunchQueue&) = delete;

  // `report` is the answer when `run` succeeds. `owner` names what Forget ends. Fails with
  // kResourceExhausted when max_in_flight requests were submitted and not collected.
  Result<RequestId> Submit(const void* owner, const LaunchReport& report,
                           std::function<Status()> run);
  Result<LaunchReport> Wait(RequestId id, double timeout_ms);
  // Cancels the owner's waiting requests and blocks while one of its requests runs. Their answer
  // is kCancelled.
  void Forget(const void* owner);

 private:
  struct Request {
    const void* owner = nullptr;
    LaunchReport report;
    std::function<Status()> run;
    std::optional<Status> outcome;  // set when it is done
  };
  void Work();
  bool MayStart() const;

  const EmulatorStart start_;
  const size_t max_in_flight_;
  std::mutex mutex_;
  std::condition_variable work_arrived_;
  std::condition_variable work_done_;
  std::map<RequestId, Request> requests_;  // submitted and not collected
  std::deque<RequestId> pending_;          // not begun
  RequestId running_ = 0;                  // 0: none
  RequestId next_id_ = 1;
  RequestId released_ = 0;  // kOnWait: requests up to this one may start
  bool stopping_ = false;
  std::thread worker_;
};

}  // namespace npumoe::emulator
