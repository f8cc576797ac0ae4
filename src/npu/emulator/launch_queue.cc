#include "npu/emulator/launch_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace npumoe::emulator {
namespace {

constexpr double kLongestWaitMs = 1e9;  // eleven days: keeps the clock's arithmetic in range

std::chrono::steady_clock::time_point DeadlineAfter(double timeout_ms) {
  // A NaN or negative time-out asks whether the request is done.
  const double ms = timeout_ms > 0 ? std::min(timeout_ms, kLongestWaitMs) : 0;
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double, std::milli>(ms));
}

}  // namespace

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
  if (pending_.empty()) return false;
  return start_ == EmulatorStart::kOnSubmit || pending_.front() <= released_;
}

void LaunchQueue::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_arrived_.wait(lock, [this] { return stopping_ || MayStart(); });
    if (stopping_) return;
    running_ = pending_.front();
    pending_.pop_front();
    const std::function<Status()> run = std::move(requests_.at(running_).run);
    lock.unlock();
    Status status = run();
    lock.lock();
    requests_.at(std::exchange(running_, 0)).outcome = std::move(status);
    work_done_.notify_all();
  }
}

Result<RequestId> LaunchQueue::Submit(const void* owner, const LaunchReport& report,
                                      std::function<Status()> run) {
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
    requests_[id] = {owner, report, std::move(run), std::nullopt};
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
  return done.report;
}

void LaunchQueue::Forget(const void* owner) {
  std::unique_lock lock(mutex_);
  const auto cancelled = [&](RequestId id) {
    Request& request = requests_.at(id);
    if (request.owner != owner) return false;
    request.run = nullptr;
    request.outcome = Status(StatusCode::kCancelled, "the program was unloaded before it ran");
    return true;
  };
  pending_.erase(std::remove_if(pending_.begin(), pending_.end(), cancelled), pending_.end());
  work_done_.notify_all();
  work_arrived_.notify_all();
  work_done_.wait(lock, [&] { return running_ == 0 || requests_.at(running_).owner != owner; });
}

}  // namespace npumoe::emulator
