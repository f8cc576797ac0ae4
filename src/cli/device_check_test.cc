#include "cli/device_check.h"

#include <gtest/gtest.h>

#include <cmath>

namespace npumoe::cli {
namespace {

SelfTest TestEmulator(const std::string& faults, const std::string& refused_op = "") {
  ChipProfile profile = *LoadChipProfile("m2-max", {NPUMOE_SOURCE_DIR "/chips"});
  if (!refused_op.empty()) profile.limits.refused_ops = {refused_op};
  ThreadPool pool(2);
  return TestDevice("emulator", profile, pool, faults);
}

TEST(SelfTest, PassesOnADeviceThatIsRight) {
  const SelfTest test = TestEmulator("");
  EXPECT_TRUE(test.status.ok()) << test.status.message();
  EXPECT_GT(test.error, 0);  // fp16 is not exact
  EXPECT_LE(test.error, kSelfTestTolerance);
  EXPECT_TRUE(test.launch.modelled);
  EXPECT_GT(test.launch.time_ms, 0);
}

TEST(SelfTest, NoticesWrongNumbersInOneRow) {
  const SelfTest test = TestEmulator("wrong(rows=0.03) @ launch=any");
  EXPECT_EQ(test.status.code(), StatusCode::kNumeric);
  EXPECT_GT(test.error, kSelfTestTolerance);
}

TEST(SelfTest, NoticesNanAndInfinity) {
  for (const char* faults : {"nan(rows=0.03) @ launch=any", "overflow @ launch=any"}) {
    const SelfTest test = TestEmulator(faults);
    EXPECT_EQ(test.status.code(), StatusCode::kNumeric) << faults;
    EXPECT_TRUE(std::isinf(test.error)) << faults;
  }
}

TEST(SelfTest, TellsWhyALoadOrLaunchFails) {
  EXPECT_EQ(TestEmulator("refuse-too-many @ load=1").status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(TestEmulator("refuse-unsupported @ launch=2").status.code(), StatusCode::kUnsupported);
  EXPECT_EQ(TestEmulator("lost @ launch=1").status.code(), StatusCode::kDeviceLost);
  const SelfTest refused = TestEmulator("", "conv");
  EXPECT_EQ(refused.status.code(), StatusCode::kUnsupported);
  EXPECT_NE(refused.status.message().find("conv"), std::string::npos);
}

TEST(SelfTest, TellsWhatRunsElsewhere) {
  const SelfTest test = TestEmulator("cpu-placement @ load=1");
  EXPECT_TRUE(test.status.ok());
  ASSERT_TRUE(test.plan.has_value());
  EXPECT_EQ(test.plan->on_device, 0);
}

TEST(SelfTest, OfADeviceThatIsNotHereIsARefusal) {
  ThreadPool pool(1);
  const SelfTest test = TestDevice("tpu", ChipProfile(), pool);
  EXPECT_EQ(test.status.code(), StatusCode::kUsage);
}

}  // namespace
}  // namespace npumoe::cli
