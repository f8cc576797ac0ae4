#include "npu/emulator/launch_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "npu/wait_deadline.h"

namespace npumoe::emulator {
LaunchQueue::LaunchQueue(EmulatorStart start, int64_t max_in_flight)
    : start_(start), max_in_flight_(static_cast<size_t>(max_in_flight)) {
  NPUMOE_CHECK(max_in_flight > 0);
  worker_ = std::thread([this] { Work(); });
}

LaunchQueue::~LaunchQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    pending_.clear();
  }
  work_arrived_.notify_all();
  worker_.join();
}

bool LaunchQueue::MayStart() const {
  if (pending_.empty() || holder_ != 0) return false;
  return start_ == EmulatorStart::kOnSubmit || pending_.front() <= released_;
}

void LaunchQueue::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_arrived_.wait(lock, [this] { return stopping_ || MayStart(); });
    if (stopping_) return;
    const RequestId next = pending_.front();
    pending_.pop_front();
    QueuedLaunch& launch = requests_.at(next).launch;
    if (launch.hang != Hang::kNone) {
      hanging_.insert(next);
      if (launch.hang == Hang::kDevice) holder_ = next;
      continue;
    }
    running_ = next;
    const std::function<Status()> run = std::move(launch.run);
    lock.unlock();
    Status status = run();
    lock.lock();
    requests_.at(std::exchange(running_, 0)).outcome = std::move(status);
    work_done_.notify_all();
  }
}

Result<RequestId> LaunchQueue::Submit(QueuedLaunch launch) {
  RequestId id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (requests_.size() >= max_in_flight_) {
      return ResourceExhausted(
          fmt::format("{} requests are in flight, the most that the profile allows; wait for one "
                      "before submitting more",
                      requests_.size()));
    }
    id = next_id_++;
    requests_[id] = {std::move(launch), std::nullopt};
    pending_.push_back(id);
  }
  work_arrived_.notify_all();
  return id;
}

Result<LaunchReport> LaunchQueue::Wait(RequestId id, double timeout_ms) {
  const auto deadline = DeadlineAfter(timeout_ms);
  std::unique_lock lock(mutex_);
  released_ = std::max(released_, std::min(id, next_id_ - 1));
  work_arrived_.notify_all();
  // Collected by another thread, or done.
  const auto settled = [&] {
    const auto it = requests_.find(id);
    return it == requests_.end() || it->second.outcome.has_value();
  };
  if (!work_done_.wait_until(lock, deadline, settled)) {
    return Status(StatusCode::kDeadlineExceeded,
                  fmt::format("request {} has not finished within {} ms; it still runs and may be "
                              "waited for again",
                              id, timeout_ms));
  }
  const auto it = requests_.find(id);
  if (it == requests_.end()) {
    return InvalidInput(fmt::format("request {} is unknown, or was waited for already", id));
  }
  const Request done = std::move(it->second);
  requests_.erase(it);
  work_done_.notify_all();  // another thread may wait for the same request: it is gone
  if (!done.outcome->ok()) return *done.outcome;
  return done.launch.report;
}

void LaunchQueue::Cancel(Request& request) {
  request.launch.run = nullptr;
  request.outcome = Status(StatusCode::kCancelled, "the program was unloaded before it ran");
}

void LaunchQueue::Forget(const void* owner) {
  std::unique_lock lock(mutex_);
  const auto cancelled = [&](RequestId id) {
    Request& request = requests_.at(id);
    if (request.launch.owner != owner) return false;
    Cancel(request);
    return true;
  };
  std::erase_if(pending_, cancelled);
  std::erase_if(hanging_, cancelled);
  if (!hanging_.contains(holder_)) holder_ = 0;
  work_done_.notify_all();
  work_arrived_.notify_all();
  work_done_.wait(lock,
                  [&] { return running_ == 0 || requests_.at(running_).launch.owner != owner; });
}

}  // namespace npumoe::emulator
