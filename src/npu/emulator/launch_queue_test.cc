#include "npu/emulator/launch_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <future>
#include <limits>

namespace npumoe::emulator {
namespace {

constexpr double kLongMs = 60e3;
const int kOwner = 0;

Status Succeed() { return OkStatus(); }

TEST(LaunchQueue, AnswersWithTheReportOfTheRequest) {
  LaunchQueue queue(EmulatorStart::kOnSubmit, 4);
  const Result<RequestId> id = queue.Submit({&kOwner, {1.5, 0.25, true}, Succeed});
  const Result<LaunchReport> report = queue.Wait(*id, kLongMs);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->time_ms, 1.5);
  EXPECT_EQ(report->energy_j, 0.25);
  EXPECT_TRUE(report->modelled);
}

TEST(LaunchQueue, ReachesTheDeadlineWhileRunningAndMayBeWaitedForAgain) {
  std::promise<void> release;
  LaunchQueue queue(EmulatorStart::kOnSubmit, 4);
  const RequestId id = *queue.Submit({&kOwner, {}, [&] {
                                        release.get_future().wait();
                                        return OkStatus();
                                      }});
  for (double timeout : {0.0, 1.0, -5.0, std::nan("")}) {
    EXPECT_EQ(queue.Wait(id, timeout).status().code(), StatusCode::kDeadlineExceeded);
  }
  release.set_value();
  EXPECT_TRUE(queue.Wait(id, std::numeric_limits<double>::infinity()).ok());
}

TEST(LaunchQueue, AnswersOnce) {
  LaunchQueue queue(EmulatorStart::kOnSubmit, 4);
  const RequestId id = *queue.Submit({&kOwner, {}, Succeed});
  EXPECT_TRUE(queue.Wait(id, kLongMs).ok());
  EXPECT_EQ(queue.Wait(id, kLongMs).status().code(), StatusCode::kInvalidInput);
}

TEST(LaunchQueue, RefusesAnUnknownRequest) {
  LaunchQueue queue(EmulatorStart::kOnWait, 4);
  EXPECT_EQ(queue.Wait(99, kLongMs).status().code(), StatusCode::kInvalidInput);
}

TEST(LaunchQueue, PassesOnWhyARunFailed) {
  LaunchQueue queue(EmulatorStart::kOnSubmit, 4);
  const RequestId id = *queue.Submit({&kOwner, {}, [] { return ResourceExhausted("no memory"); }});
  EXPECT_EQ(queue.Wait(id, kLongMs).status().message(), "no memory");
}

TEST(LaunchQueue, RefusesMoreRequestsThanTheLimitUntilOneIsCollected) {
  LaunchQueue queue(EmulatorStart::kOnSubmit, 2);
  const RequestId first = *queue.Submit({&kOwner, {}, Succeed});
  EXPECT_TRUE(queue.Submit({&kOwner, {}, Succeed}).ok());
  const Status status = queue.Submit({&kOwner, {}, Succeed}).status();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("2 requests are in flight"), std::string::npos);
  EXPECT_TRUE(queue.Wait(first, kLongMs).ok());
  EXPECT_TRUE(queue.Submit({&kOwner, {}, Succeed}).ok());
}

TEST(LaunchQueue, HoldsARequestBackUntilSomebodyWaitsForIt) {
  LaunchQueue queue(EmulatorStart::kOnWait, 4);
  std::atomic<int> runs = 0;
  const auto run = [&] {
    ++runs;
    return OkStatus();
  };
  const RequestId first = *queue.Submit({&kOwner, {}, run});
  const RequestId second = *queue.Submit({&kOwner, {}, run});
  EXPECT_TRUE(queue.Wait(first, kLongMs).ok());
  queue.Forget(&kOwner);  // cancels what has not begun
  EXPECT_EQ(queue.Wait(second, kLongMs).status().code(), StatusCode::kCancelled);
  EXPECT_EQ(runs, 1);
}

TEST(LaunchQueue, RunsEarlierRequestsBeforeTheOneThatIsWaitedFor) {
  LaunchQueue queue(EmulatorStart::kOnWait, 4);
  std::vector<int> order;  // touched by the worker, read after both waits
  const RequestId first = *queue.Submit({&kOwner, {}, [&] {
                                           order.push_back(1);
                                           return OkStatus();
                                         }});
  const RequestId second = *queue.Submit({&kOwner, {}, [&] {
                                            order.push_back(2);
                                            return OkStatus();
                                          }});
  EXPECT_TRUE(queue.Wait(second, kLongMs).ok());
  EXPECT_TRUE(queue.Wait(first, kLongMs).ok());
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(LaunchQueue, ForgetsOnlyTheOwnersRequests) {
  LaunchQueue queue(EmulatorStart::kOnWait, 4);
  const int other = 0;
  const RequestId mine = *queue.Submit({&kOwner, {}, Succeed});
  const RequestId theirs = *queue.Submit({&other, {}, Succeed});
  queue.Forget(&kOwner);
  EXPECT_TRUE(queue.Wait(theirs, kLongMs).ok());
  EXPECT_EQ(queue.Wait(mine, kLongMs).status().code(), StatusCode::kCancelled);
}

TEST(LaunchQueue, ForgetWaitsForARunningRequest) {
  LaunchQueue queue(EmulatorStart::kOnSubmit, 4);
  std::promise<void> begun;
  std::promise<void> release;
  std::atomic<bool> finished = false;
  const RequestId id = *queue.Submit({&kOwner, {}, [&] {
                                        begun.set_value();
                                        release.get_future().wait();
                                        finished = true;
                                        return OkStatus();
                                      }});
  begun.get_future().wait();
  std::thread unload([&] {
    queue.Forget(&kOwner);
    EXPECT_TRUE(finished);
  });
  release.set_value();
  unload.join();
  EXPECT_TRUE(queue.Wait(id, kLongMs).ok());
}

TEST(LaunchQueue, EndsAHangingRequestOnlyWhenItsOwnerIsForgotten) {
  LaunchQueue queue(EmulatorStart::kOnSubmit, 4);
  const int other = 0;
  const RequestId stuck = *queue.Submit({&kOwner, {}, Succeed, Hang::kRequest});
  const RequestId behind = *queue.Submit({&other, {}, Succeed});
  EXPECT_TRUE(queue.Wait(behind, kLongMs).ok());
  EXPECT_EQ(queue.Wait(stuck, 5).status().code(), StatusCode::kDeadlineExceeded);
  queue.Forget(&kOwner);
  EXPECT_EQ(queue.Wait(stuck, kLongMs).status().code(), StatusCode::kCancelled);
}

TEST(LaunchQueue, LetsARequestThatHoldsTheDeviceStopThoseBehindIt) {
  LaunchQueue queue(EmulatorStart::kOnSubmit, 4);
  const int other = 0;
  const RequestId stuck = *queue.Submit({&kOwner, {}, Succeed, Hang::kDevice});
  const RequestId behind = *queue.Submit({&other, {}, Succeed});
  EXPECT_EQ(queue.Wait(behind, 5).status().code(), StatusCode::kDeadlineExceeded);
  queue.Forget(&kOwner);
  EXPECT_TRUE(queue.Wait(behind, kLongMs).ok());
  EXPECT_EQ(queue.Wait(stuck, kLongMs).status().code(), StatusCode::kCancelled);
}

TEST(LaunchQueue, EndsWithRequestsThatNobodyWaitedFor) {
  std::atomic<int> runs = 0;
  {
    LaunchQueue queue(EmulatorStart::kOnWait, 4);
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(queue
                      .Submit({&kOwner,
                               {},
                               [&] {
                                 ++runs;
                                 return OkStatus();
                               }})
                      .ok());
    }
  }
  EXPECT_EQ(runs, 0);
}

}  // namespace
}  // namespace npumoe::emulator
