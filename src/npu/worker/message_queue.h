// MessageQueue: what a worker has been sent and not yet done. Bounded: the sender waits.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "npu/worker/channel.h"

namespace npumoe::worker {

class MessageQueue {
 public:
  void Push(WorkerChannel::Received message) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return messages_.size() < kMaxMessages; });
    messages_.push_back(std::move(message));
    changed_.notify_all();
  }
  WorkerChannel::Received Pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !messages_.empty(); });
    WorkerChannel::Received message = std::move(messages_.front());
    messages_.pop_front();
    changed_.notify_all();
    return message;
  }

 private:
  static constexpr size_t kMaxMessages = 256;  // chosen: at most kMaxPayloadBytes each
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<WorkerChannel::Received> messages_;
};

}  // namespace npumoe::worker
