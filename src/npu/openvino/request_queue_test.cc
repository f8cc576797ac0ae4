#include "npu/openvino/request_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace npumoe::openvino {
namespace {

constexpr double kLongMs = 60e3;
const int kOwner = 0, kOther = 0;  // their addresses are owners

TEST(RequestQueue, StartsOneAtATimeInOrder) {
  RequestQueue queue(8, 1);
  std::vector<RequestId> started;
  const auto start = [&](RequestId id) { started.push_back(id); };
  std::vector<RequestId> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(*queue.Submit(&kOwner, start));
  EXPECT_EQ(started, std::vector{ids[0]});
  queue.Finish(ids[0], OkStatus());
  EXPECT_EQ(started, (std::vector{ids[0], ids[1]}));
  queue.Finish(ids[1], OkStatus());
  queue.Finish(ids[2], OkStatus());
  for (const RequestId id : ids) EXPECT_TRUE(queue.Wait(id, 0).ok());
}

TEST(RequestQueue, RunsAsManyAtOnceAsTheDeviceTakes) {
  RequestQueue queue(8, 2);
  int started = 0;
  std::vector<RequestId> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(*queue.Submit(&kOwner, [&](RequestId) { ++started; }));
  EXPECT_EQ(started, 2);
  queue.Finish(ids[1], OkStatus());  // in any order
  EXPECT_EQ(started, 3);
  queue.Finish(ids[0], OkStatus());
  queue.Finish(ids[2], OkStatus());
}

TEST(RequestQueue, AnswersWithMeasuredTimeOrTheFailureOnce) {
  RequestQueue queue(8, 1);
  const RequestId good = *queue.Submit(&kOwner, [](RequestId) {});
  const RequestId bad = *queue.Submit(&kOwner, [](RequestId) {});
  queue.Finish(good, OkStatus());
  queue.Finish(bad, Status(StatusCode::kDeviceLost, "gone"));
  const Result<LaunchReport> report = queue.Wait(good, kLongMs);
  ASSERT_TRUE(report.ok());
  EXPECT_GT(report->time_ms, 0);
  EXPECT_FALSE(report->modelled);
  EXPECT_EQ(queue.Wait(bad, kLongMs).status().code(), StatusCode::kDeviceLost);
  EXPECT_EQ(queue.Wait(bad, kLongMs).status().code(), StatusCode::kInvalidInput);
}

TEST(RequestQueue, MayBeWaitedForAgainAfterTheDeadline) {
  RequestQueue queue(8, 1);
  const RequestId id = *queue.Submit(&kOwner, [](RequestId) {});
  EXPECT_EQ(queue.Wait(id, 1).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(queue.Wait(id, -1).status().code(), StatusCode::kDeadlineExceeded);
  queue.Finish(id, OkStatus());
  EXPECT_TRUE(queue.Wait(id, 0).ok());
}

TEST(RequestQueue, RefusesMoreThanMayBeInFlight) {
  RequestQueue queue(1, 1);
  const RequestId id = *queue.Submit(&kOwner, [](RequestId) {});
  EXPECT_EQ(queue.Submit(&kOwner, [](RequestId) {}).status().code(),
            StatusCode::kResourceExhausted);
  queue.Finish(id, OkStatus());
  EXPECT_TRUE(queue.Wait(id, 0).ok());
  const Result<RequestId> next = queue.Submit(&kOwner, [](RequestId) {});
  ASSERT_TRUE(next.ok());
  queue.Finish(*next, OkStatus());
}

TEST(RequestQueue, TakesAFailureOfTheStartItself) {
  RequestQueue queue(8, 1);
  const auto fail = [&](RequestId id) { queue.Finish(id, Unsupported("cannot start")); };
  const RequestId first = *queue.Submit(&kOwner, fail);
  const RequestId second = *queue.Submit(&kOwner, fail);
  EXPECT_EQ(queue.Wait(first, 0).status().message(), "cannot start");
  EXPECT_EQ(queue.Wait(second, 0).status().message(), "cannot start");
}

TEST(RequestQueue, ForgetsWhatHasNotBegunAndLetsGoOfWhatItHolds) {
  RequestQueue queue(8, 1);
  const auto held = std::make_shared<int>(1);
  const RequestId running = *queue.Submit(&kOther, [](RequestId) {});
  const RequestId waiting = *queue.Submit(&kOwner, [held](RequestId) {});
  EXPECT_EQ(held.use_count(), 2);
  queue.Forget(&kOwner);
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(queue.Wait(waiting, 0).status().code(), StatusCode::kCancelled);
  queue.Finish(running, OkStatus());
  EXPECT_TRUE(queue.Wait(running, 0).ok());
}

TEST(RequestQueue, ForgetsARunningRequestOnlyWhenItIsOver) {
  RequestQueue queue(8, 1);
  const RequestId id = *queue.Submit(&kOwner, [](RequestId) {});
  std::atomic<bool> finished{false};
  std::thread device([&] {
    finished = true;
    queue.Finish(id, OkStatus());
  });
  queue.Forget(&kOwner);
  EXPECT_TRUE(finished);
  device.join();
}

// Many threads submit, collect and forget, others finish; the queue goes when all are done.
TEST(RequestQueue, SurvivesManyThreads) {
  constexpr int kThreads = 4, kRounds = 200;
  const int owners[kThreads] = {};
  for (int repetition = 0; repetition < 5; ++repetition) {
    auto queue = std::make_unique<RequestQueue>(64, 2);
    std::vector<std::thread> users;
    std::atomic<int> collected{0};
    for (int t = 0; t < kThreads; ++t) {
      users.emplace_back([&, t] {
        for (int i = 0; i < kRounds; ++i) {
          std::mutex mutex;
          std::vector<std::thread> device;
          const auto start = [&](RequestId id) {
            const std::lock_guard lock(mutex);
            device.emplace_back([&, id] { queue->Finish(id, OkStatus()); });
          };
          const Result<RequestId> id = queue->Submit(&owners[t], start);
          ASSERT_TRUE(id.ok());
          if (queue->Wait(*id, kLongMs).ok()) ++collected;
          const std::lock_guard lock(mutex);
          for (std::thread& thread : device) thread.join();
        }
        queue->Forget(&owners[t]);
      });
    }
    for (std::thread& user : users) user.join();
    EXPECT_EQ(collected, kThreads * kRounds);
  }
}

}  // namespace
}  // namespace npumoe::openvino
