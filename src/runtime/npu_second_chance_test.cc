// What failed on a device is tried once more after a pause, and no more than once.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "runtime/fault_fixture.h"

namespace npumoe {
namespace {

class NpuFaultsSecondChance : public NpuFaults {
 protected:
  NpuFaultsSecondChance() {
    options_.chunks_in_flight = 1;
    options_.retry_pause_ms = 0;
  }
  void Prefill(NpuExecutor& executor) {
    PrefillAll(*OpenSession(bench_.model, bench_.pool, {.npu = &executor}), ids_);
  }
  static size_t InService(const NpuExecutor& executor) {
    const PlacementReport report = executor.report();
    return static_cast<size_t>(
        std::count_if(report.programs.begin(), report.programs.end(),
                      [](const ProgramPlacement& program) { return program.in_service; }));
  }

  NpuExecutorOptions options_;
};

TEST_F(NpuFaultsSecondChance, ARetiredProgramGetsASecondChanceAfterThePause) {
  bool broken = true;
  device_.on_wait = [&](int) { return broken ? Fault::kRefuse : Fault::kNone; };
  device_.failure = IoError("the driver said no");
  const auto executor = bench_.Load(device_, options_);
  const auto first_failures = [&] { return executor->report().programs[0].degradations; };
  while (first_failures().empty() || first_failures()[0].count < kFailuresBeforeRetirement) {
    const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
    PrefillAll(*session, std::span(ids_).first(64));
  }
  broken = false;
  ExpectSameAnswer(*executor);
  EXPECT_TRUE(executor->report().programs[0].in_service);
  EXPECT_GT(executor->report().programs[0].launches, 0);
}

TEST_F(NpuFaultsSecondChance, AProgramThatFailsItsSecondChanceIsNotUsedAgain) {
  device_.on_wait = [](int) { return Fault::kRefuse; };
  device_.failure = IoError("the driver said no");
  const auto executor = bench_.Load(device_, options_);
  for (int i = 0; i < 4; ++i) ExpectSameAnswer(*executor);
  for (const ProgramPlacement& program : executor->report().programs) {
    EXPECT_FALSE(program.in_service);
    EXPECT_EQ(program.degradations[0].count, kFailuresBeforeRetirement + 1);
  }
}

TEST_F(NpuFaultsSecondChance, AFailedLoadIsTriedAgain) {
  device_.on_load = [](int call) { return call == 2 ? Fault::kRefuse : Fault::kNone; };
  device_.failure = ResourceExhausted("no place at the moment");
  const auto executor = bench_.Load(device_, options_);
  EXPECT_FALSE(executor->report().programs[2].loaded);
  ExpectSameAnswer(*executor);
  ExpectSameAnswer(*executor);
  const ProgramPlacement program = executor->report().programs[2];
  EXPECT_TRUE(program.loaded);
  EXPECT_TRUE(program.came_back);
  EXPECT_TRUE(program.in_service);
  EXPECT_EQ(program.refusal, "");
  EXPECT_GT(program.launches, 0);
  EXPECT_GT(program.weight_bytes, 0);
  ASSERT_EQ(program.degradations.size(), 1u);  // that it had failed stays in the report
  EXPECT_EQ(program.degradations[0].count, 1);
}

TEST_F(NpuFaultsSecondChance, ALoadIsTriedTwiceAndNotMore) {
  int loads = 0;
  device_.on_load = [&](int) {
    ++loads;
    return Fault::kRefuse;
  };
  device_.failure = ResourceExhausted("no place");
  const auto executor = bench_.Load(device_, options_);
  const auto programs = static_cast<int>(executor->report().planned());
  EXPECT_EQ(loads, programs);
  for (int i = 0; i < 4; ++i) ExpectSameAnswer(*executor);
  EXPECT_EQ(loads, 2 * programs);
  EXPECT_EQ(InService(*executor), 0u);
}

TEST_F(NpuFaultsSecondChance, WhatTheDeviceCannotDoIsNotTriedAgain) {
  int loads = 0;
  device_.on_load = [&](int) {
    ++loads;
    return Fault::kRefuse;
  };
  device_.failure = Unsupported("no such operation");
  const auto executor = bench_.Load(device_, options_);
  ExpectSameAnswer(*executor);
  EXPECT_EQ(loads, executor->report().planned());
}

TEST_F(NpuFaultsSecondChance, WrongNumbersThatWereBadLuckComeBack) {
  std::unique_ptr<NpuExecutor> executor;
  const auto degradations = [&] { return executor->report().degradations(); };
  device_.on_wait = [&](int) { return degradations() == 0 ? Fault::kTenthWrong : Fault::kNone; };
  executor = bench_.Load(device_, options_);
  for (int i = 0; i < 100 && degradations() == 0; ++i) Prefill(*executor);
  const int64_t before = degradations();
  ASSERT_GT(before, 0);
  for (int i = 0; i < 5; ++i) ExpectSameAnswer(*executor);
  EXPECT_EQ(degradations(), before);
  EXPECT_EQ(InService(*executor), static_cast<size_t>(executor->report().planned()));
}

// Each program is found wrong by chance, comes back, and is found wrong at its first launch, of
// which every row is checked: no wrong row is used in between.
TEST_F(NpuFaultsSecondChance, FromDetectionOnTheAnswerIsRight) {
  device_.on_wait = [](int) { return Fault::kTenthWrong; };
  const auto executor = bench_.Load(device_, options_);
  std::vector<int64_t> launches_at_detection(static_cast<size_t>(executor->report().planned()), -1);
  for (int i = 0; i < 100 && InService(*executor) > 0; ++i) {
    Prefill(*executor);
    const PlacementReport report = executor->report();
    for (size_t p = 0; p < report.programs.size(); ++p) {
      const ProgramPlacement& program = report.programs[p];
      if (program.degradations.empty()) continue;
      if (launches_at_detection[p] < 0) launches_at_detection[p] = program.launches;
      EXPECT_EQ(program.launches, launches_at_detection[p]) << "a wrong launch was used";
    }
  }
  ASSERT_EQ(InService(*executor), 0u);
  for (const ProgramPlacement& program : executor->report().programs) {
    int64_t rejected = 0;
    for (const Degradation& degradation : program.degradations) rejected += degradation.count;
    EXPECT_EQ(rejected, 2) << Describe(program.id);
  }
  const int submits = device_.submits;
  ExpectSameAnswer(*executor);
  EXPECT_EQ(device_.submits, submits);
}

TEST_F(NpuFaultsSecondChance, ALostDeviceIsOpenedAgain) {
  device_.on_submit = [&](int call) {
    return call >= 4 && device_.reopened == 0 ? Fault::kRefuse : Fault::kNone;
  };
  device_.failure = Status(StatusCode::kDeviceLost, "unplugged");
  options_.chunks_in_flight = 2;
  const auto executor = bench_.Load(device_, options_);
  const int loads = device_.loads();
  for (int i = 0; i < 3; ++i) ExpectSameAnswer(*executor);
  EXPECT_EQ(device_.reopened, 1);
  EXPECT_EQ(device_.loads(), 2 * loads);
  EXPECT_EQ(InService(*executor), static_cast<size_t>(executor->report().planned()));
}

// The programs of before must leave it: there is no room for both.
TEST_F(NpuFaultsSecondChance, ALostDeviceThatWasFullIsLoadedAgain) {
  ChipProfile full = bench_.profile;
  full.limits.max_programs = bench_.Load(device_, options_)->report().planned();
  const auto emulator = MakeEmulator(full, bench_.pool, {});
  ASSERT_TRUE(emulator.ok());
  FaultyDevice device(**emulator);
  device.on_submit = [&](int call) {
    return call >= 4 && device.reopened == 0 ? Fault::kRefuse : Fault::kNone;
  };
  device.failure = Status(StatusCode::kDeviceLost, "unplugged");
  const auto executor = bench_.Load(device, options_);
  for (int i = 0; i < 3; ++i) ExpectSameAnswer(*executor);
  EXPECT_EQ(device.reopened, 1);
  EXPECT_EQ(InService(*executor), static_cast<size_t>(executor->report().planned()));
}

TEST_F(NpuFaultsSecondChance, ADeviceThatWasLostWhileItLoadedIsLoadedAgain) {
  device_.on_load = [&](int call) {
    return call >= 2 && device_.reopened == 0 ? Fault::kRefuse : Fault::kNone;
  };
  device_.failure = Status(StatusCode::kDeviceLost, "unplugged");
  const auto executor = bench_.Load(device_, options_);
  EXPECT_EQ(InService(*executor), 2u);
  for (int i = 0; i < 3; ++i) ExpectSameAnswer(*executor);
  EXPECT_EQ(device_.reopened, 1);
  EXPECT_EQ(InService(*executor), static_cast<size_t>(executor->report().planned()));
}

// The first sign of the loss is a load, of a program that had failed before.
TEST_F(NpuFaultsSecondChance, ALossThatALoadTellsIsNotTheEnd) {
  const auto planned = static_cast<int>(bench_.Load(device_, options_)->report().planned());
  FaultyDevice device(*bench_.emulator);
  device.failure = ResourceExhausted("no place at the moment");
  device.on_load = [&](int call) {
    if (call == planned) device.failure = Status(StatusCode::kDeviceLost, "unplugged");
    return call == 2 || call == planned ? Fault::kRefuse : Fault::kNone;
  };
  const auto executor = bench_.Load(device, options_);
  for (int i = 0; i < 3; ++i) ExpectSameAnswer(*executor);
  EXPECT_EQ(device.reopened, 1);
  EXPECT_EQ(InService(*executor), static_cast<size_t>(planned - 1));
}

TEST_F(NpuFaultsSecondChance, ADeviceThatIsGoneIsOpenedOnce) {
  device_.on_submit = [](int call) { return call >= 4 ? Fault::kRefuse : Fault::kNone; };
  device_.failure = Status(StatusCode::kDeviceLost, "unplugged");
  device_.is_gone = true;
  const auto executor = bench_.Load(device_, options_);
  for (int i = 0; i < 3; ++i) ExpectSameAnswer(*executor);
  EXPECT_EQ(device_.reopened, 1);
  EXPECT_EQ(InService(*executor), 0u);
}

TEST_F(NpuFaultsSecondChance, ADeviceThatMissedManyDeadlinesIsAskedOnceMore) {
  device_.on_wait = [](int call) { return call < 4 ? Fault::kDeadline : Fault::kNone; };
  const auto executor = bench_.Load(device_, options_);
  ExpectSameAnswer(*executor);
  EXPECT_EQ(executor->report().degradations(), 4);
  for (const ProgramPlacement& program : executor->report().programs) {
    EXPECT_TRUE(program.came_back) << Describe(program.id);
    EXPECT_TRUE(program.in_service) << Describe(program.id);
  }
}

TEST_F(NpuFaultsSecondChance, ADeviceThatHangsAgainIsGivenUp) {
  int deadlines = 0;
  device_.on_wait = [&](int) {
    ++deadlines;
    return Fault::kDeadline;
  };
  const auto executor = bench_.Load(device_, options_);
  for (int i = 0; i < 5; ++i) ExpectSameAnswer(*executor);
  EXPECT_EQ(InService(*executor), 0u);
  // Four launches of the first layer, which gives the device up; those of the next layer, which
  // come back at once; and the first layer's once more, as soon as its late launches have ended.
  EXPECT_LE(deadlines, 3 * 4) << "of " << executor->report().planned() << " programs";
}

}  // namespace
}  // namespace npumoe
