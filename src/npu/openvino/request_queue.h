// RequestQueue: requests of one device in the order of submission. A request begins when fewer than
// `max_running` run; who executes it calls Finish from whatever thread. The time of a request is
// what the device spent on it: from its begin, or from the end of the one before it where several
// run, to its end.
//
// Thread rules: every function from any thread. `start` runs on the thread of Submit or Finish,
// without a lock, and may call Finish itself.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>

#include "base/status.h"
#include "npu/device.h"

namespace npumoe::openvino {

class RequestQueue {
 public:
  using Start = std::function<void(RequestId)>;

  // Ids count from `first_id`.
  RequestQueue(int64_t max_in_flight, int max_running, RequestId first_id = 1);
  RequestQueue(const RequestQueue&) = delete;
  RequestQueue& operator=(const RequestQueue&) = delete;

  // `owner` names what Forget ends. kResourceExhausted when max_in_flight requests were submitted
  // and not collected. `start` is destroyed by the thread that collects or forgets the request.
  Result<RequestId> Submit(const void* owner, Start start);
  // The request's outcome. Once for each request that was started.
  void Finish(RequestId id, Status outcome);
  // Measured. A finished request may be waited for once.
  Result<LaunchReport> Wait(RequestId id, double timeout_ms);
  // Cancels the owner's requests that have not begun and blocks while one of its requests runs;
  // the answer of the former is kCancelled.
  void Forget(const void* owner);
  // Above all ids so far.
  RequestId next_id();

 private:
  using Clock = std::chrono::steady_clock;
  struct Request {
    const void* owner = nullptr;
    Start start;
    bool starting = false;  // `start` has not returned
    Clock::time_point begin;
    double time_ms = 0;
    std::optional<Status> outcome;

    bool settled() const { return outcome.has_value() && !starting; }
  };
  void StartPending(std::unique_lock<std::mutex>& lock);

  const size_t max_in_flight_;
  const int max_running_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, Request> requests_;  // submitted and not collected
  std::deque<RequestId> pending_;          // not begun
  int running_ = 0;
  RequestId next_id_;
  Clock::time_point last_end_;
};

}  // namespace npumoe::openvino
