#include "npu/coreml/request_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "npu/coreml/pending.h"

namespace npumoe::coreml_device {

Result<RequestId> RequestTable::Add() {
  const std::lock_guard lock(mutex_);
  if (static_cast<int64_t>(requests_.size()) >= max_in_flight_) {
    return ResourceExhausted(
        fmt::format("{} requests are in flight, the most that the profile allows; wait for one "
                    "before submitting more",
                    requests_.size()));
  }
  requests_.emplace(next_id_, std::nullopt);
  return next_id_++;
}

void RequestTable::Finish(RequestId id, const Status& status, PredictionTimes times) {
  {
    const std::lock_guard lock(mutex_);
    const double begin_ms = std::max(times.begin_ms, last_end_ms_);
    last_end_ms_ = std::max(last_end_ms_, times.end_ms);
    std::optional<Result<LaunchReport>>& outcome = requests_.at(id);
    if (status.ok()) {
      outcome = LaunchReport{.time_ms = std::max(0.0, times.end_ms - begin_ms), .modelled = false};
    } else {
      outcome = status;
    }
  }
  finished_.notify_all();
}

Result<LaunchReport> RequestTable::Wait(RequestId id, double timeout_ms) {
  std::unique_lock lock(mutex_);
  // Collected by another thread, or done.
  const auto settled = [&] {
    const auto it = requests_.find(id);
    return it == requests_.end() || it->second.has_value();
  };
  if (!finished_.wait_until(lock, DeadlineAfter(timeout_ms), settled)) {
    return Status(StatusCode::kDeadlineExceeded,
                  fmt::format("request {} has not finished within {} ms; it still runs and may be "
                              "waited for again",
                              id, timeout_ms));
  }
  const auto it = requests_.find(id);
  if (it == requests_.end()) {
    return InvalidInput(fmt::format("request {} is unknown, or was waited for already", id));
  }
  Result<LaunchReport> outcome = *std::move(it->second);
  requests_.erase(it);
  finished_.notify_all();  // another thread may wait for the same request: it is gone
  return outcome;
}

bool RequestTable::IsIdle() {
  const std::lock_guard lock(mutex_);
  return std::ranges::all_of(requests_, [](const auto& entry) { return entry.second.has_value(); });
}

}  // namespace npumoe::coreml_device
