// Whatever a device does, the answer stays the same and the report says what happened.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/fault_fixture.h"

namespace npumoe {
namespace {

TEST_F(NpuFaults, ARefusedProgramLeavesItsExpertsToTheCpu) {
  device_.on_load = [](int call) { return call == 2 ? Fault::kRefuse : Fault::kNone; };
  const auto executor = bench_.Load(device_);
  ExpectSameAnswer(*executor);
  const PlacementReport report = executor->report();
  EXPECT_EQ(report.loaded(), report.planned() - 1);
  EXPECT_EQ(report.programs[2].refusal, "refused by the test");
  EXPECT_GT(report.degraded_rows, 0);
  EXPECT_EQ(report.programs[2].degraded_rows, report.degraded_rows);
}

TEST_F(NpuFaults, ADeviceThatRefusesEverythingStillAnswersAlike) {
  device_.on_load = [](int) { return Fault::kRefuse; };
  const auto executor = bench_.Load(device_);
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  EXPECT_EQ(Greedy(*session, prompt_, 30), greedy_);
  EXPECT_EQ(executor->report().loaded(), 0);
}

TEST_F(NpuFaults, TellsTheObserverOfRefusedLoads) {
  device_.on_load = [](int call) { return call == 0 ? Fault::kRefuse : Fault::kNone; };
  const auto executor = bench_.Load(device_);
  const auto session =
      OpenSession(bench_.model, bench_.pool, {.npu = executor.get(), .observer = &recorder_});
  ASSERT_EQ(recorder_.degradations.size(), 1u);
  EXPECT_EQ(recorder_.degradations[0].what, "load");
}

TEST_F(NpuFaults, RowsOfAFailedSubmissionAreComputedOnTheCpu) {
  device_.on_submit = [](int call) { return call % 3 == 1 ? Fault::kRefuse : Fault::kNone; };
  device_.failure = IoError("the driver said no");
  const auto executor = bench_.Load(device_);
  ExpectSameAnswer(*executor);
  ASSERT_FALSE(recorder_.degradations.empty());
  EXPECT_EQ(recorder_.degradations[0].what, "launch");
  EXPECT_EQ(recorder_.degradations[0].reason, "the driver said no");
}

TEST_F(NpuFaults, RowsOfAFailedLaunchAreComputedOnTheCpu) {
  device_.on_wait = [](int call) { return call % 5 == 2 ? Fault::kRefuse : Fault::kNone; };
  device_.failure = IoError("the driver said no");
  const auto executor = bench_.Load(device_);
  ExpectSameAnswer(*executor);
  EXPECT_GT(executor->report().degradations(), 0);
}

TEST_F(NpuFaults, AnAnswerWithNanIsComputedAgain) {
  device_.on_wait = [](int call) { return call % 4 == 1 ? Fault::kNan : Fault::kNone; };
  const auto executor = bench_.Load(device_);
  ExpectSameAnswer(*executor);
  ASSERT_FALSE(recorder_.degradations.empty());
  EXPECT_EQ(recorder_.degradations[0].what, "numeric");
}

TEST_F(NpuFaults, AMissedDeadlineTakesTheProgramOutOfService) {
  device_.on_wait = [](int call) { return call == 0 ? Fault::kDeadline : Fault::kNone; };
  NpuExecutorOptions one_chunk;
  one_chunk.chunks_in_flight = 1;
  one_chunk.retry_pause_ms = kNoRetry;
  const auto executor = bench_.Load(device_, one_chunk);
  ExpectSameAnswer(*executor);
  const PlacementReport report = executor->report();
  EXPECT_EQ(recorder_.degradations[0].what, "deadline");
  EXPECT_EQ(report.degradations(), 1);
  const ProgramPlacement& late = report.programs[0];
  EXPECT_TRUE(late.loaded);
  EXPECT_FALSE(late.in_service);
  EXPECT_EQ(late.launches, 0);
}

TEST_F(NpuFaults, ALostDeviceIsNotAskedAgain) {
  device_.on_submit = [](int call) { return call >= 4 ? Fault::kRefuse : Fault::kNone; };
  device_.failure = Status(StatusCode::kDeviceLost, "unplugged");
  NpuExecutorOptions no_retry;
  no_retry.retry_pause_ms = kNoRetry;
  const auto executor = bench_.Load(device_, no_retry);
  ExpectSameAnswer(*executor);
  const int submits = device_.submits;
  ExpectSameAnswer(*executor);
  EXPECT_EQ(device_.submits, submits);
  for (const ProgramPlacement& program : executor->report().programs) {
    EXPECT_FALSE(program.in_service);
  }
}

TEST_F(NpuFaults, AProgramThatFailsThreeTimesInARowIsRetired) {
  device_.on_wait = [](int) { return Fault::kNan; };
  NpuExecutorOptions no_retry;
  no_retry.retry_pause_ms = kNoRetry;
  const auto executor = bench_.Load(device_, no_retry);
  for (int i = 0; i < 3; ++i) ExpectSameAnswer(*executor);
  for (const ProgramPlacement& program : executor->report().programs) {
    EXPECT_FALSE(program.in_service);
    // Two chunks may be in flight when the third failure is seen.
    EXPECT_LE(program.degradations[0].count, 4);
  }
}

// A launch with a tenth of its rows wrong is caught with probability 1/10, or a little more where
// few rows are filled, and then its program is not used again. The draws are seeded by the launch's
// number, so the outcome is always the same; clean prefills before the first wrong one give each
// round other draws. The bounds are four standard deviations of a binomial.
TEST_F(NpuFaults, SpotChecksCatchATenthOfWrongRowsAtATenthOfTheLaunches) {
  double launches = 0, caught = 0;
  for (int round = 1; round <= 10; ++round) {
    bool wrong = false;
    device_.on_wait = [&](int) { return wrong ? Fault::kTenthWrong : Fault::kNone; };
    NpuExecutorOptions one_chunk;
    one_chunk.chunks_in_flight = 1;
    one_chunk.retry_pause_ms = kNoRetry;
    const auto executor = bench_.Load(device_, one_chunk);
    const auto prefill = [&] {
      PrefillAll(*OpenSession(bench_.model, bench_.pool, {.npu = executor.get()}), ids_);
    };
    for (int i = 0; i < round; ++i) prefill();  // the first checks
    EXPECT_EQ(executor->report().degradations(), 0);
    const int before = device_.submits;
    wrong = true;
    for (int i = 0; i < 3; ++i) prefill();
    launches += device_.submits - before;
    caught += static_cast<double>(executor->report().degradations());
  }
  ASSERT_GT(launches, 400);
  const double spread = 4 * std::sqrt(launches * 0.1 * 0.9);
  EXPECT_GT(caught, launches * 0.1 - spread);
  EXPECT_LT(caught, launches * 0.13 + spread);
}

TEST_F(NpuFaults, WrongRowsOfACoarseFormatAreNoticed) {
  bench_.plan.weight_format = WeightFormat::kLut4;
  device_.on_wait = [](int) { return Fault::kTenthWrong; };
  const auto executor = bench_.Load(device_);
  for (int i = 0; i < 5; ++i) {
    PrefillAll(*OpenSession(bench_.model, bench_.pool, {.npu = executor.get()}), ids_);
  }
  EXPECT_GT(executor->report().degradations(), 0);
}

TEST_F(NpuFaults, PaddedRowsAreNeverRead) {
  device_.on_wait = [](int) { return Fault::kPoisonPadding; };
  const auto executor = bench_.Load(device_);
  ExpectSameAnswer(*executor);
  EXPECT_EQ(executor->report().degradations(), 0);
}

TEST_F(NpuFaults, ACorruptPackageIsRefusedByNameAndTheAnswerStays) {
  const ScratchFolder own_cache;
  bench_.cache = own_cache.path();
  const std::vector<CompiledProgram> compiled = bench_.Compile();
  const auto weights = compiled[1].package / "Data/com.apple.CoreML/weights/weight.bin";
  std::filesystem::resize_file(weights, 100);
  auto executor = NpuExecutor::Create(bench_.plan, bench_.profile, bench_.model, *bench_.emulator,
                                      compiled, {});
  ASSERT_TRUE(executor.ok());
  ExpectSameAnswer(**executor);
  const ProgramPlacement refused = (*executor)->report().programs[1];
  EXPECT_NE(refused.refusal.find(compiled[1].package.filename().string()), std::string::npos)
      << refused.refusal;
  EXPECT_NE(refused.refusal.find("npumoe compile"), std::string::npos) << refused.refusal;
}

TEST_F(NpuFaults, AFlippedWeightIsRefusedAndTheAnswerStays) {
  const ScratchFolder own_cache;
  bench_.cache = own_cache.path();
  const std::vector<CompiledProgram> compiled = bench_.Compile();
  FlipFirstWeight(compiled[1].package);
  auto executor = NpuExecutor::Create(bench_.plan, bench_.profile, bench_.model, *bench_.emulator,
                                      compiled, {});
  ASSERT_TRUE(executor.ok());
  ExpectSameAnswer(**executor);
  const ProgramPlacement refused = (*executor)->report().programs[1];
  EXPECT_FALSE(refused.loaded);
  EXPECT_NE(refused.refusal.find("damaged"), std::string::npos) << refused.refusal;
}

TEST_F(NpuFaults, APackageOfAnotherPlanIsRefused) {
  std::vector<CompiledProgram> compiled = bench_.Compile();
  std::swap(compiled[0].package, compiled[1].package);
  compiled[0].key = compiled[1].key;
  auto executor = NpuExecutor::Create(bench_.plan, bench_.profile, bench_.model, *bench_.emulator,
                                      compiled, {});
  ASSERT_TRUE(executor.ok());
  EXPECT_FALSE((*executor)->report().programs[0].loaded);
}

TEST_F(NpuFaults, TooManyProgramsForTheProcessAreRefusedOneByOne) {
  ChipProfile tight = bench_.profile;
  tight.limits.max_programs = 5;
  auto emulator = MakeEmulator(tight, bench_.pool, {});
  ASSERT_TRUE(emulator.ok());
  const auto executor = bench_.Load(**emulator);
  EXPECT_EQ(executor->report().loaded(), 5);
  ExpectSameAnswer(*executor);
}

TEST_F(NpuFaults, ADeviceThatTakesOneRequestAtATimeIsEnough) {
  bench_.profile.limits.max_requests_in_flight = 1;
  auto emulator = MakeEmulator(bench_.profile, bench_.pool, {});
  ASSERT_TRUE(emulator.ok());
  const auto executor = bench_.Load(**emulator);
  ExpectSameAnswer(*executor);
  EXPECT_EQ(executor->report().degradations(), 0);
}

TEST_F(NpuFaults, TheReportAsJsonNamesTheReason) {
  device_.on_load = [](int call) { return call == 0 ? Fault::kRefuse : Fault::kNone; };
  const Json json = ToJson(bench_.Load(device_)->report());
  EXPECT_EQ(json["programs"][0]["refusal"], "refused by the test");
  EXPECT_EQ(json["programs"][0]["degradations"][0]["what"], "load");
  EXPECT_EQ(json["loaded"].get<int64_t>() + 1, json["planned"].get<int64_t>());
}

}  // namespace
}  // namespace npumoe
