#include "runtime/conformance/conformance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <set>
#include <utility>

#include "base/temporary_folder.h"
#include "npu/device_registry.h"

namespace npumoe {
namespace {

using Outcome = ConformanceVerdict::Outcome;

ChipProfile ProfileOfNeuralEngine() {
  Result<ChipProfile> profile = LoadChipProfile("m2-max", {NPUMOE_SOURCE_DIR "/chips"});
  NPUMOE_CHECK(profile.ok());
  return *std::move(profile);
}

// Takes scales of blocks, too.
ChipProfile ProfileOfAnything() {
  ChipProfile profile = ProfileOfNeuralEngine();
  profile.limits.graph.refuses_block_scales = false;
  return profile;
}

ConformanceCase Find(const std::string& program, const std::string& shapes, WeightFormat format) {
  for (ConformanceCase& tested : ConformanceCases(16)) {
    if (tested.program == program && tested.shapes == shapes && tested.format == format) {
      return std::move(tested);
    }
  }
  NPUMOE_CHECK(false && "no such case");
  return {};
}

ConformanceCase SmallCase() { return Find("experts A", "one expert", WeightFormat::kF16); }

class ConformanceOnEmulator {
 public:
  explicit ConformanceOnEmulator(ChipProfile profile, const std::string& faults = "",
                                 double timeout_ms = 60e3)
      : profile_(std::move(profile)) {
    DeviceOptions options;
    options.faults = faults;
    auto device = MakeDevice("emulator", profile_, pool_, options);
    EXPECT_TRUE(device.ok()) << device.status().message();
    device_ = *std::move(device);
    conformance_ = std::make_unique<Conformance>(*device_, profile_, folder_->path(), timeout_ms);
  }
  ConformanceVerdict Check(const ConformanceCase& tested) { return conformance_->Check(tested); }

 private:
  ThreadPool pool_{2};
  ChipProfile profile_;
  Result<TemporaryFolder> folder_ =
      TemporaryFolder::Create("npumoe-conformance-test", TemporaryFolder::Place::kMemory);
  std::unique_ptr<Device> device_;
  std::unique_ptr<Conformance> conformance_;
};

ConformanceVerdict CheckWithFaults(const std::string& faults, double timeout_ms = 60e3) {
  return ConformanceOnEmulator(ProfileOfAnything(), faults, timeout_ms).Check(SmallCase());
}

TEST(ConformanceCases, AreEveryFormFormatAndClassOnce) {
  std::set<std::string> names, programs;
  for (const ConformanceCase& tested : ConformanceCases(16)) {
    EXPECT_TRUE(names.insert(tested.program + tested.shapes + Name(tested.format)).second);
    programs.insert(tested.program);
    EXPECT_GT(tested.tolerance, 0);
    EXPECT_LT(tested.tolerance, 6e-3);
  }
  EXPECT_EQ(programs,
            (std::set<std::string>{"experts A", "experts B", "experts C", "attention", "head"}));
  EXPECT_GT(names.size(), 200u);
}

// Every kind of program in fp16 and in the format whose values are rounded most; all formats of all
// of them: tests/conformance_test.py.
TEST(Conformance, OfTheEmulator) {
  ConformanceOnEmulator emulator(ProfileOfAnything());
  for (const ConformanceCase& tested : ConformanceCases(16)) {
    const bool is_chosen =
        tested.format == WeightFormat::kF16 || tested.format == WeightFormat::kInt4Block32;
    if (!is_chosen || tested.shapes == "large enough for engines") continue;
    const ConformanceVerdict verdict = emulator.Check(tested);
    EXPECT_EQ(verdict.outcome, Outcome::kAgrees)
        << tested.program << " " << tested.shapes << ": " << verdict.status.message();
    EXPECT_GT(verdict.error, 0) << tested.program << " " << tested.shapes;  // fp16 is not exact
  }
}

TEST(Conformance, OfSeveralFunctionsExecutesEach) {
  ConformanceOnEmulator emulator(ProfileOfAnything());
  for (const char* program : {"experts A", "experts B", "experts C"}) {
    EXPECT_EQ(emulator.Check(Find(program, "buckets of capacities", WeightFormat::kInt8)).functions,
              3);
  }
}

TEST(Conformance, ARuleOfTheChipIsARefusalThatNamesIt) {
  const ConformanceCase blocks = Find("experts C", "one expert", WeightFormat::kInt8Block32);
  const ConformanceVerdict verdict = ConformanceOnEmulator(ProfileOfNeuralEngine()).Check(blocks);
  EXPECT_EQ(verdict.outcome, Outcome::kRefused);
  EXPECT_EQ(verdict.rules, std::vector<std::string>{"block-scales"});
  EXPECT_TRUE(verdict.passed());
  EXPECT_EQ(ConformanceOnEmulator(ProfileOfAnything()).Check(blocks).outcome, Outcome::kAgrees);
}

TEST(Conformance, AFormThatTheChipDoesNotTakeIsARefusal) {
  ChipProfile profile = ProfileOfAnything();
  profile.limits.refused_forms = {"A"};
  ConformanceOnEmulator emulator(profile);
  const ConformanceVerdict verdict = emulator.Check(SmallCase());
  EXPECT_EQ(verdict.outcome, Outcome::kRefused);
  EXPECT_EQ(verdict.rules, std::vector<std::string>{"refused-form"});
  EXPECT_EQ(emulator.Check(Find("experts B", "one expert", WeightFormat::kF16)).outcome,
            Outcome::kAgrees);
}

TEST(Conformance, WhatTheValidatorAcceptsMustLoad) {
  const ConformanceVerdict verdict = CheckWithFaults("refuse-unsupported @ load=1");
  EXPECT_EQ(verdict.outcome, Outcome::kFailed);
  EXPECT_NE(verdict.status.message().find("the validator accepts it"), std::string::npos);
}

TEST(Conformance, WrongNumbersFail) {
  for (const char* faults :
       {"wrong(rows=0.03) @ launch=1", "nan(rows=0.03) @ launch=1", "overflow @ launch=1"}) {
    const ConformanceVerdict verdict = CheckWithFaults(faults);
    EXPECT_EQ(verdict.outcome, Outcome::kFailed) << faults;
    EXPECT_EQ(verdict.status.code(), StatusCode::kNumeric) << faults;
    EXPECT_FALSE(verdict.passed());
  }
}

TEST(Conformance, WrongNumbersOfOneFunctionOfAPackageFail) {
  ConformanceOnEmulator emulator(ProfileOfAnything(), "wrong(rows=0.01) @ launch=3");
  EXPECT_EQ(emulator.Check(Find("experts C", "buckets of capacities", WeightFormat::kLut4)).outcome,
            Outcome::kFailed);
}

TEST(Conformance, APlacementElsewhereIsShown) {
  const ConformanceVerdict verdict = CheckWithFaults("cpu-placement @ load=1");
  EXPECT_EQ(verdict.outcome, Outcome::kAgrees);
  EXPECT_TRUE(verdict.is_elsewhere());
  EXPECT_FALSE(verdict.plan.elsewhere.empty());
}

TEST(Conformance, AfterALaunchThatDoesNotEndNothingMoreIsTried) {
  ConformanceOnEmulator emulator(ProfileOfAnything(), "hang @ launch=1", 50);
  EXPECT_EQ(emulator.Check(SmallCase()).outcome, Outcome::kFailed);
  const ConformanceVerdict next = emulator.Check(SmallCase());
  EXPECT_EQ(next.outcome, Outcome::kNotTried);
  EXPECT_FALSE(next.passed());
}

TEST(Conformance, ADeviceThatComesBackIsTestedFurther) {
  ConformanceOnEmulator emulator(ProfileOfAnything(), "lost @ launch=1");
  EXPECT_EQ(emulator.Check(SmallCase()).outcome, Outcome::kFailed);
  EXPECT_EQ(emulator.Check(SmallCase()).outcome, Outcome::kAgrees);
}

}  // namespace
}  // namespace npumoe
