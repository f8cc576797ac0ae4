#include "npu/openvino/request_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "npu/wait_deadline.h"

namespace npumoe::openvino {

RequestQueue::RequestQueue(int64_t max_in_flight, int max_running, RequestId first_id)
    : max_in_flight_(static_cast<size_t>(max_in_flight)),
      max_running_(max_running),
      next_id_(first_id) {
  NPUMOE_CHECK(max_in_flight > 0 && max_running > 0);
}

RequestId RequestQueue::next_id() {
  const std::lock_guard lock(mutex_);
  return next_id_;
}

Result<RequestId> RequestQueue::Submit(const void* owner, Start start) {
  std::unique_lock lock(mutex_);
  if (requests_.size() >= max_in_flight_) {
    return ResourceExhausted(
        fmt::format("{} requests are in flight, the most that the profile allows; wait for one "
                    "before submitting more",
                    requests_.size()));
  }
  const RequestId id = next_id_++;
  Request& request = requests_[id];
  request.owner = owner;
  request.start = std::move(start);
  pending_.push_back(id);
  StartPending(lock);
  return id;
}

void RequestQueue::StartPending(std::unique_lock<std::mutex>& lock) {
  while (!pending_.empty() && running_ < max_running_) {
    const RequestId id = pending_.front();
    pending_.pop_front();
    ++running_;
    // Nobody removes it while `starting` is set, so the reference stays good without the lock.
    Request& request = requests_.at(id);
    request.starting = true;
    request.begin = Clock::now();
    lock.unlock();
    request.start(id);
    lock.lock();
    request.starting = false;
    changed_.notify_all();
  }
}

void RequestQueue::Finish(RequestId id, Status outcome) {
  std::unique_lock lock(mutex_);
  Request& request = requests_.at(id);
  const Clock::time_point end = Clock::now();
  const Clock::time_point begin = std::max(request.begin, last_end_);
  request.time_ms = std::chrono::duration<double, std::milli>(end - begin).count();
  last_end_ = end;
  request.outcome = std::move(outcome);
  --running_;
  changed_.notify_all();
  // The next one is taken under the same lock. Were the lock let go, the last owner could forget
  // that request and destroy the queue.
  StartPending(lock);
}

Result<LaunchReport> RequestQueue::Wait(RequestId id, double timeout_ms) {
  const Clock::time_point deadline = DeadlineAfter(timeout_ms);
  Request done;
  {
    std::unique_lock lock(mutex_);
    // Collected by another thread, or done.
    const auto over = [&] {
      const auto it = requests_.find(id);
      return it == requests_.end() || it->second.settled();
    };
    if (!changed_.wait_until(lock, deadline, over)) {
      return Status(StatusCode::kDeadlineExceeded,
                    fmt::format("request {} has not finished within {} ms; it still runs and may "
                                "be waited for again",
                                id, timeout_ms));
    }
    const auto it = requests_.find(id);
    if (it == requests_.end()) {
      return InvalidInput(fmt::format("request {} is unknown, or was waited for already", id));
    }
    done = std::move(it->second);
    requests_.erase(it);
    changed_.notify_all();  // another thread may wait for the same request: it is gone
  }
  if (!done.outcome->ok()) return *done.outcome;
  return LaunchReport{.time_ms = done.time_ms, .energy_j = 0, .modelled = false};
}

void RequestQueue::Forget(const void* owner) {
  std::vector<Start> unused;  // destroyed without the lock
  std::unique_lock lock(mutex_);
  std::erase_if(pending_, [&](RequestId id) {
    Request& request = requests_.at(id);
    if (request.owner != owner) return false;
    unused.push_back(std::exchange(request.start, nullptr));
    request.outcome = Status(StatusCode::kCancelled, "the program was unloaded before it ran");
    return true;
  });
  changed_.notify_all();
  changed_.wait(lock, [&] {
    return std::all_of(requests_.begin(), requests_.end(), [&](const auto& entry) {
      return entry.second.owner != owner || entry.second.settled();
    });
  });
  // Their answers may still be collected; what they hold of the owner goes now.
  for (auto& [id, request] : requests_) {
    if (request.owner == owner) unused.push_back(std::exchange(request.start, nullptr));
  }
  lock.unlock();
}

}  // namespace npumoe::openvino
