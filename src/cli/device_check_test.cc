#include "cli/device_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

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
  ASSERT_TRUE(test.error && test.launch);
  EXPECT_GT(*test.error, 0);  // fp16 is not exact
  EXPECT_LE(*test.error, kSelfTestTolerance);
  EXPECT_TRUE(test.launch->modelled);
  EXPECT_GT(test.launch->time_ms, 0);
}

TEST(SelfTest, NoticesWrongNumbersInOneRow) {
  const SelfTest test = TestEmulator("wrong(rows=0.03) @ launch=any");
  EXPECT_EQ(test.status.code(), StatusCode::kNumeric);
  ASSERT_TRUE(test.error.has_value());
  EXPECT_GT(*test.error, kSelfTestTolerance);
}

TEST(SelfTest, NoticesNanAndInfinity) {
  for (const char* faults : {"nan(rows=0.03) @ launch=any", "overflow @ launch=any"}) {
    const SelfTest test = TestEmulator(faults);
    EXPECT_EQ(test.status.code(), StatusCode::kNumeric) << faults;
    EXPECT_TRUE(test.error && std::isinf(*test.error)) << faults;
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

TEST(SelfTest, ThatEndsEarlyHasNoNumbersOfWhatDidNotHappen) {
  const SelfTest refused = TestEmulator("refuse-too-many @ load=1");
  EXPECT_FALSE(refused.load_ms || refused.launch || refused.error);
  const SelfTest lost = TestEmulator("lost @ launch=1");
  EXPECT_TRUE(lost.load_ms.has_value());
  EXPECT_FALSE(lost.launch || lost.error);
}

// Its launches never end; it counts what it made and nobody destroyed.
class HangingDevice : public Device {
 public:
  DeviceInfo info() const override { return {"hanging", "", ""}; }
  Status Supports(const std::filesystem::path&, const std::string&) override { return OkStatus(); }
  Result<std::unique_ptr<Program>> Load(const std::filesystem::path&, const std::string&) override {
    auto program = std::make_unique<HangingProgram>(*this);
    living_programs_.push_back(program.get());
    return std::unique_ptr<Program>(std::move(program));
  }
  Result<RequestId> Submit(const LaunchRequest&) override { return RequestId{1}; }
  Result<LaunchReport> Wait(RequestId, double) override {
    return Status(StatusCode::kDeadlineExceeded, "still running");
  }

  size_t living() const { return living_programs_.size() + living_buffers_.size(); }
  ~HangingDevice() override {
    while (!living_programs_.empty()) delete living_programs_.back();
    while (!living_buffers_.empty()) delete living_buffers_.back();
  }

 private:
  struct HangingBuffer : DeviceBuffer {
    HangingBuffer(HangingDevice& owner, size_t size) : device(owner), memory(size) {}
    ~HangingBuffer() override { std::erase(device.living_buffers_, this); }
    std::span<std::byte> bytes() override { return memory; }
    HangingDevice& device;
    std::vector<std::byte> memory;
  };
  struct HangingProgram : Program {
    explicit HangingProgram(HangingDevice& owner) : device(owner) {}
    ~HangingProgram() override { std::erase(device.living_programs_, this); }
    const std::vector<TensorSpec>& inputs() const override { return specs; }
    const std::vector<TensorSpec>& outputs() const override { return specs; }
    int64_t weight_bytes() const override { return 0; }
    Result<std::unique_ptr<DeviceBuffer>> Allocate(const TensorSpec& spec) override {
      auto buffer = std::make_unique<HangingBuffer>(device, spec.bytes());
      device.living_buffers_.push_back(buffer.get());
      return std::unique_ptr<DeviceBuffer>(std::move(buffer));
    }
    HangingDevice& device;
    std::vector<TensorSpec> specs = {{"x", DType::kF16, Shape({1, 1024, 1, 32})}};
  };

  std::vector<HangingProgram*> living_programs_;
  std::vector<HangingBuffer*> living_buffers_;
};

TEST(SelfTest, LeavesARequestThatStillRunsItsProgramAndBuffers) {
  HangingDevice device;
  SelfTest test;
  TestOpenDevice(device, 1, test);
  EXPECT_EQ(test.status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(device.living(), 3u);  // the program, its input and its output
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
