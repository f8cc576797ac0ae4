// Pending: an answer that comes later, from another thread, or never.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace npumoe::coreml_device {

// Keeps the clock's arithmetic in range; a NaN or negative limit does not wait.
inline std::chrono::steady_clock::time_point DeadlineAfter(double limit_ms) {
  constexpr double kLongestMs = 1e9;  // eleven days
  const double ms = limit_ms > 0 ? std::min(limit_ms, kLongestMs) : 0;
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double, std::milli>(ms));
}

template <class T>
class Pending {
 public:
  // The first answer counts; one that nobody waits for any more is dropped.
  std::function<void(T)> receiver() const {
    return [state = state_](T answer) {
      {
        const std::lock_guard lock(state->mutex);
        if (std::exchange(state->is_settled, true)) return;
        state->answer = std::move(answer);
      }
      state->arrived.notify_all();
    };
  }

  // None when the limit passed first.
  std::optional<T> Wait(double limit_ms) {
    std::unique_lock lock(state_->mutex);
    const auto deadline = DeadlineAfter(limit_ms);
    if (!state_->arrived.wait_until(lock, deadline, [&] { return state_->answer.has_value(); })) {
      state_->is_settled = true;
      return std::nullopt;
    }
    return std::exchange(state_->answer, std::nullopt);
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable arrived;
    std::optional<T> answer;
    bool is_settled = false;  // answered, or nobody waits any more
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace npumoe::coreml_device
