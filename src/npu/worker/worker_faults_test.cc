// Crashes, hangs, kills and lost devices: a restart and a replay, and the right answer.
#include <atomic>
#include <thread>

#include "base/clock.h"
#include "npu/worker/worker_testing.h"

namespace npumoe::worker {
namespace {

class WorkerFaults : public WorkerTest {
 protected:
  void ExpectHealth(Device& device, int64_t restarts, const std::string& reason) {
    const DeviceHealth health = device.health();
    EXPECT_EQ(health.restarts, restarts);
    ASSERT_FALSE(health.events.empty());
    EXPECT_NE(health.events[0].reason.find(reason), std::string::npos) << health.events[0].reason;
    EXPECT_EQ(health.events[0].count, restarts);
  }
  // A program whose first life, once killed, stays until the test creates the file "release".
  std::filesystem::path UnkillableWorker() {
    const std::filesystem::path program = folder_ / "unkillable.sh";
    std::ofstream(program) << "#!/bin/sh\nexec '" << NPUMOE_WORKER_HOST << "' \"$1\" '"
                           << folder_.path().string() << "'\n";
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    return program;
  }
  // Kills a worker, if one runs at this moment.
  static bool KillOneWorker() {
    const std::vector<pid_t> children = Children();
    return !children.empty() && kill(children[0], SIGKILL) == 0;
  }
};

TEST_F(WorkerFaults, SurviveACrashInALaunch) {
  const auto device = MakeTestWorkers(TestOptions(1, "crash @ launch=2"));
  Bound bound = LoadOn(*device);
  for (uint32_t seed = 0; seed < kSeeds; ++seed) ExpectRight(*device, bound, seed);
  ExpectHealth(*device, 1, "signal 6");
  EXPECT_EQ(device->health().replays, 2);  // the load and the launch
}

TEST_F(WorkerFaults, SurviveACrashWhileLoading) {
  const auto device = MakeTestWorkers(TestOptions(1, "crash @ load=2"));
  Bound first = LoadOn(*device), second = LoadOn(*device);
  ExpectRight(*device, first, 0);
  ExpectRight(*device, second, 1);
  ExpectHealth(*device, 1, "signal 6");
}

TEST_F(WorkerFaults, SurviveAHang) {
  WorkerDeviceOptions options = TestOptions(1, "hang @ launch=2");
  options.launch_deadline_ms = 1500;
  const auto device = MakeTestWorkers(options);
  Bound bound = LoadOn(*device), other = LoadOn(*device);
  ExpectRight(*device, bound, 0);
  Fill(bound, 1);
  Fill(other, 2);
  const RequestId stuck = *bound.Submit(*device);
  const RequestId behind = *other.Submit(*device);
  EXPECT_EQ(device->Wait(stuck, 10).status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(device->Wait(stuck, kLongMs).ok());
  ASSERT_TRUE(device->Wait(behind, kLongMs).ok());
  EXPECT_EQ(OutputOf(bound), expected_[1]);
  EXPECT_EQ(OutputOf(other), expected_[2]);
  EXPECT_GE(device->health().restarts, 1);
  EXPECT_EQ(device->health().events[0].reason, "no answer within 1500 ms");
}

TEST_F(WorkerFaults, DoNotWaitForAProcessThatCannotBeKilled) {
  WorkerDeviceOptions options = TestOptions(1, "hang @ launch=1");
  options.launch_deadline_ms = 300;
  options.program = UnkillableWorker();
  const auto device = MakeTestWorkers(options);
  if (std::filesystem::exists(folder_ / "killable")) {
    const char* ci = std::getenv("CI");
    if (ci != nullptr && std::string(ci) == "true") FAIL() << "processes cannot be traced";
    GTEST_SKIP() << "processes cannot be traced here";
  }
  Bound bound = LoadOn(*device);
  Fill(bound, 1);
  const RequestId request = *bound.Submit(*device);
  Status status(StatusCode::kDeadlineExceeded, "");
  double longest_ms = 0;
  while (status.code() == StatusCode::kDeadlineExceeded) {
    Stopwatch watch;
    status = device->Wait(request, 10).status();
    longest_ms = std::max(longest_ms, watch.ElapsedMs());
  }
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_LT(longest_ms, 5000);
  EXPECT_EQ(OutputOf(bound), expected_[1]);
  EXPECT_EQ(Children().size(), 2u);  // the killed one, and the one in its place
  std::ofstream(folder_ / "release") << "";
  while (Children().size() > 1) std::this_thread::yield();
  ExpectRight(*device, bound, 2);
  ExpectHealth(*device, 1, "no answer within 300 ms");
}

TEST_F(WorkerFaults, EndALoadThatHangsAtItsLimit) {
  WorkerDeviceOptions options = TestOptions(1, "hang @ load=2");
  options.load_timeout_ms = 2000;
  const auto device = MakeTestWorkers(options);
  Bound bound = LoadOn(*device);
  const Stopwatch watch;
  const Status status = device->Load(package_, "main").status();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("2000 ms"), std::string::npos) << status.message();
  ExpectRight(*device, bound, 0);
  Bound later = LoadOn(*device);
  ExpectRight(*device, later, 1);
}

TEST_F(WorkerFaults, SurviveADeviceThatDisappears) {
  const auto device = MakeTestWorkers(TestOptions(2, "lost @ launch=2; lost @ load=3"));
  Bound first = LoadOn(*device), second = LoadOn(*device), third = LoadOn(*device);
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    ExpectRight(*device, first, seed);
    ExpectRight(*device, second, seed);
    ExpectRight(*device, third, seed);
  }
  ExpectHealth(*device, 2, "disappeared");
}

TEST_F(WorkerFaults, GiveUpAProgramThatCrashesAtEveryLaunchAndKeepTheOthers) {
  std::filesystem::copy(package_, folder_ / "bad.mlpackage",
                        std::filesystem::copy_options::recursive);
  const auto device = MakeTestWorkers(TestOptions(1, "crash @ program=bad, launch=any"));
  Bound good = LoadOn(*device);
  Bound bad(*device->Load(folder_ / "bad.mlpackage", "main"));
  const Status status = device->Wait(*bad.Submit(*device), kLongMs).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("bad:main ended its worker 3 times in a row in a launch"),
            std::string::npos)
      << status.message();
  EXPECT_EQ(bad.Submit(*device).status().code(), StatusCode::kUnsupported);
  ExpectRight(*device, good, 2);
  ExpectHealth(*device, 3, "signal 6");
}

TEST_F(WorkerFaults, GiveUpAProgramThatCrashesAtEveryLoad) {
  const auto device = MakeTestWorkers(TestOptions(1, "crash @ load=any, times=3"));
  const Status status = device->Load(package_, "main").status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("3 times in a row while it was loaded"), std::string::npos);
  Bound bound = LoadOn(*device);
  ExpectRight(*device, bound, 0);
}

TEST_F(WorkerFaults, GiveUpAProgramThatHangsAtEveryLaunch) {
  WorkerDeviceOptions options = TestOptions(1, "hang @ program=p, launch=any");
  options.launch_deadline_ms = 300;
  const auto device = MakeTestWorkers(options);
  Bound bound = LoadOn(*device);
  const Status status = device->Wait(*bound.Submit(*device), kLongMs).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("no answer within 300 ms"), std::string::npos);
}

TEST_F(WorkerFaults, UnloadAProgramWhoseLaunchHangs) {
  WorkerDeviceOptions options = TestOptions(1, "hang @ launch=1");
  options.launch_deadline_ms = 1000;
  const auto device = MakeTestWorkers(options);
  Bound bound = LoadOn(*device), other = LoadOn(*device);
  const RequestId stuck = *bound.Submit(*device);
  EXPECT_EQ(device->Wait(stuck, 10).status().code(), StatusCode::kDeadlineExceeded);
  bound.program.reset();  // returns when the deadline has ended the worker
  EXPECT_EQ(device->Wait(stuck, kLongMs).status().code(), StatusCode::kCancelled);
  ExpectRight(*device, other, 1);
}

TEST_F(WorkerFaults, PassOnNumbersThatTheDeviceGotWrong) {
  const auto device = MakeTestWorkers(TestOptions(2, "wrong @ launch=2; nan @ launch=3"));
  Bound first = LoadOn(*device), second = LoadOn(*device);
  ExpectRight(*device, first, 0);
  ASSERT_TRUE(device->Wait(*second.Submit(*device), kLongMs).ok());
  EXPECT_NE(OutputOf(second), expected_[0]);
  ASSERT_TRUE(device->Wait(*first.Submit(*device), kLongMs).ok());
  EXPECT_TRUE(std::isnan(OutputOf(first)[0]));
  ExpectRight(*device, second, 1);
}

TEST_F(WorkerFaults, PassOnRefusalsAndSlowCompilationAndPlacementOnTheCpu) {
  const auto device =
      MakeTestWorkers(TestOptions(1,
                                  "refuse-too-many @ load=1; slow-compile(modelled-s=60) @ load=2;"
                                  "cpu-placement(factor=10) @ load=3"));
  EXPECT_EQ(device->Load(package_, "main").status().code(), StatusCode::kResourceExhausted);
  Bound slow = LoadOn(*device), on_cpu = LoadOn(*device);
  EXPECT_EQ(slow.program->load_report().time_ms, 60e3);
  EXPECT_TRUE(slow.program->load_report().modelled);
  EXPECT_EQ(on_cpu.program->compute_plan()->on_device, 0);
  Fill(on_cpu, 1);
  const auto report = device->Wait(*on_cpu.Submit(*device), kLongMs);
  EXPECT_DOUBLE_EQ(report->time_ms, 10 * expected_report_.time_ms);
  EXPECT_EQ(OutputOf(on_cpu), expected_[1]);
}

TEST_F(WorkerFaults, LoseNothingToAHundredKills) {
  const size_t descriptors = OpenDescriptors();
  {
    const auto device = MakeTestWorkers(TestOptions(2));
    std::vector<Bound> loaded;
    for (int i = 0; i < 4; ++i) loaded.push_back(LoadOn(*device));
    std::atomic<bool> stop = false;
    // Kills at any moment of a launch; the next one only when the restart was counted, so that the
    // program under it comes to an end now and then.
    std::thread killer([&] {
      for (int64_t killed = 0; killed < 100 && !stop; ++killed) {
        while (!KillOneWorker() && !stop) std::this_thread::yield();
        while (device->health().restarts <= killed && !stop) std::this_thread::yield();
      }
      stop = true;
    });
    uint32_t round = 0;
    for (; !stop || round < 10; ++round) {
      for (Bound& bound : loaded) ExpectRight(*device, bound, round % kSeeds);
      if (HasFailure()) stop = true;
    }
    killer.join();
    EXPECT_EQ(device->health().restarts, 100);
    EXPECT_NE(device->health().events[0].reason.find("signal 9"), std::string::npos);
  }
  EXPECT_TRUE(Children().empty());
  EXPECT_EQ(OpenDescriptors(), descriptors);
}

TEST_F(WorkerFaults, StartAgainWhatWasKilledWhileIdle) {
  const auto device = MakeTestWorkers(TestOptions());
  Bound bound = LoadOn(*device);
  ExpectRight(*device, bound, 0);
  ASSERT_TRUE(KillOneWorker());
  ExpectRight(*device, bound, 1);
  ExpectHealth(*device, 1, "signal 9");
}

TEST_F(WorkerFaults, CountFaultsAcrossRestartsAndWorkers) {
  const auto device = MakeTestWorkers(TestOptions(2, "crash @ launch=2; nan @ launch=5"));
  Bound first = LoadOn(*device), second = LoadOn(*device);
  ExpectRight(*device, first, 0);   // 1
  ExpectRight(*device, second, 1);  // 2 crashes, and again: 3
  ExpectRight(*device, first, 2);   // 4
  ASSERT_TRUE(device->Wait(*second.Submit(*device), kLongMs).ok());
  EXPECT_TRUE(std::isnan(OutputOf(second)[0]));
  EXPECT_EQ(device->health().restarts, 1);
}

TEST_F(WorkerFaults, FailAProgramWhosePackageChangedBeforeARestart) {
  const auto device = MakeTestWorkers(TestOptions());
  Bound bound = LoadOn(*device);
  std::filesystem::remove_all(package_);
  emulator::WritePackage(
      folder_, {npumoe::testing::ExpertGraph(GraphForm::kDenseChains, {kHidden, kIntermediate},
                                             {kRows + 16})});
  ASSERT_TRUE(KillOneWorker());
  while (device->health().restarts == 0) std::this_thread::yield();
  const auto request = bound.Submit(*device);
  const Status status = request.ok() ? device->Wait(*request, kLongMs).status() : request.status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidInput);
  EXPECT_NE(status.message().find("changed while it was in use"), std::string::npos);
}

}  // namespace
}  // namespace npumoe::worker
