// Every fault of a script, on the device: what the caller sees, and what stays right.
#include <cmath>

#include "base/clock.h"
#include "npu/emulator/emulator_testing.h"
#include "npu/emulator/fault_script.h"

namespace npumoe::emulator {
namespace {

using npumoe::testing::ExpertGraph;
using npumoe::testing::ScratchFolder;

constexpr int64_t kHidden = 32, kIntermediate = 16, kRows = 48;

class EmulatorFaults : public ::testing::Test {
 protected:
  void SetUp() override {
    package_ = WritePackage(
        folder_, {ExpertGraph(GraphForm::kDenseChains, {kHidden, kIntermediate}, {kRows})});
    Open("");
    expected_ = *Launch();
  }
  void Open(const std::string& script, double load_timeout_ms = kLongMs) {
    bound_.reset();
    auto faults = ParseFaultScript(script);
    ASSERT_TRUE(faults.ok()) << faults.status().message();
    EmulatorOptions options;
    options.start = EmulatorStart::kOnSubmit;
    options.faults = *faults;
    options.load_timeout_ms = load_timeout_ms;
    device_ = *MakeEmulator(TestProfile(), pool_, options);
  }
  Status Load() {
    auto program = device_->Load(package_, "main");
    if (!program.ok()) return program.status();
    bound_ = std::make_unique<Bound>(*std::move(program));
    const TensorSpec& spec = bound_->program->inputs()[0];
    StoreFloats(spec, RandomValues(spec.shape.elements(), 7), bound_->inputs[0]->bytes());
    return OkStatus();
  }
  // The output of a launch, of a program that is loaded where there is none.
  Result<std::vector<float>> Launch(double timeout_ms = kLongMs) {
    if (bound_ == nullptr) NPUMOE_RETURN_IF_ERROR(Load());
    NPUMOE_ASSIGN_OR_RETURN(request_, bound_->Submit(*device_));
    NPUMOE_ASSIGN_OR_RETURN(report_, device_->Wait(request_, timeout_ms));
    return LoadFloats(bound_->program->outputs()[0], bound_->outputs[0]->bytes());
  }
  // Rows (columns of [1, H, 1, rows]) in which any value differs.
  int WrongRows(const std::vector<float>& values) {
    int wrong = 0;
    for (int64_t row = 0; row < kRows; ++row) {
      bool differs = false;
      for (int64_t h = 0; h < kHidden; ++h) {
        const auto i = static_cast<size_t>(h * kRows + row);
        differs |= !(values[i] == expected_[i]);
      }
      wrong += differs ? 1 : 0;
    }
    return wrong;
  }

  ScratchFolder folder_;
  ThreadPool pool_{1};
  std::filesystem::path package_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Bound> bound_;  // before the device
  RequestId request_ = 0;
  LaunchReport report_;
  std::vector<float> expected_;
};

TEST_F(EmulatorFaults, RefuseALoadWithTheStatusOfTheRealLimit) {
  Open("refuse-too-large @ load=1; refuse-too-many @ load=2; refuse-unsupported @ load=3");
  const Status large = Load(), many = Load(), unsupported = Load();
  EXPECT_EQ(large.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(large.message().find("program-too-large"), std::string::npos);
  EXPECT_EQ(many.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(many.message().find("too-many-programs"), std::string::npos);
  EXPECT_EQ(unsupported.code(), StatusCode::kUnsupported);
  EXPECT_EQ(*Launch(), expected_);  // the fourth load
}

TEST_F(EmulatorFaults, RefuseALaunch) {
  Open("refuse-too-many @ launch=1");
  EXPECT_EQ(Launch().status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(*Launch(), expected_);
}

TEST_F(EmulatorFaults, SayThatTheCompilerTookMinutesAndSleepOnlyWhatWasAsked) {
  Open("slow-compile(modelled-s=300, sleep-ms=20) @ load=1");
  Stopwatch watch;
  ASSERT_TRUE(Load().ok());
  EXPECT_GE(watch.ElapsedMs(), 20);
  EXPECT_LT(watch.ElapsedMs(), 100e3);
  EXPECT_EQ(bound_->program->load_report().time_ms, 300e3);
  EXPECT_TRUE(bound_->program->load_report().modelled);
  EXPECT_EQ(*Launch(), expected_);
  EXPECT_LT(report_.time_ms, 100);
}

TEST_F(EmulatorFaults, ReportACompilationThatALaunchWaitedFor) {
  Open("slow-compile(modelled-s=300) @ launch=2");
  EXPECT_EQ(*Launch(), expected_);
  const double usual_ms = report_.time_ms;
  EXPECT_EQ(*Launch(), expected_);
  EXPECT_DOUBLE_EQ(report_.time_ms, usual_ms + 300e3);
}

TEST_F(EmulatorFaults, PlaceAProgramOnTheCpuSlowButRight) {
  ASSERT_TRUE(Launch().ok());
  const double usual_ms = report_.time_ms;
  const auto usual_plan = bound_->program->compute_plan();
  ASSERT_TRUE(usual_plan.has_value());
  EXPECT_GT(usual_plan->operations, 0);
  EXPECT_EQ(usual_plan->on_device, usual_plan->operations);
  Open("cpu-placement(factor=25) @ load=1");
  EXPECT_EQ(*Launch(), expected_);
  EXPECT_DOUBLE_EQ(report_.time_ms, 25 * usual_ms);
  const auto plan = bound_->program->compute_plan();
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->on_device, 0);
  EXPECT_NE(plan->elsewhere.find("CPU"), std::string::npos);
}

TEST_F(EmulatorFaults, ComputeALaunchOnTheCpuWithoutShowingItInThePlan) {
  Open("cpu-placement(factor=25) @ launch=1");
  EXPECT_EQ(*Launch(), expected_);
  const double slow_ms = report_.time_ms;
  EXPECT_EQ(*Launch(), expected_);
  EXPECT_DOUBLE_EQ(slow_ms, 25 * report_.time_ms);
  const auto plan = bound_->program->compute_plan();
  EXPECT_EQ(plan->on_device, plan->operations);
}

TEST_F(EmulatorFaults, AnswerWithWrongNumbersOfTheRightSize) {
  Open("wrong @ launch=2");
  EXPECT_EQ(*Launch(), expected_);
  const std::vector<float> wrong = *Launch();
  EXPECT_EQ(WrongRows(wrong), kRows);
  float largest = 0, largest_wrong = 0;
  for (const float value : expected_) largest = std::max(largest, std::abs(value));
  for (const float value : wrong) largest_wrong = std::max(largest_wrong, std::abs(value));
  EXPECT_LE(largest_wrong, 1.001f * largest);
  EXPECT_GE(largest_wrong, 0.5f * largest);
  EXPECT_EQ(*Launch(), expected_);
}

TEST_F(EmulatorFaults, CorruptTheShareOfRowsThatWasAskedFor) {
  Open("wrong(rows=0.25, seed=3) @ launch=any");
  int wrong = 0;
  constexpr int kLaunches = 40;
  for (int i = 0; i < kLaunches; ++i) wrong += WrongRows(*Launch());
  // Standard deviation: sqrt(48 * 40 * 0.25 * 0.75) = 19.
  EXPECT_NEAR(wrong, 0.25 * kLaunches * kRows, 4 * 19);
  Open("wrong(rows=0) @ launch=any");
  EXPECT_EQ(WrongRows(*Launch()), 1);
}

TEST_F(EmulatorFaults, CorruptTheSameRowsForTheSameSeed) {
  Open("wrong(rows=0.25, seed=3) @ launch=1");
  const std::vector<float> once = *Launch();
  Open("wrong(rows=0.25, seed=3) @ launch=1");
  EXPECT_EQ(*Launch(), once);
  Open("wrong(rows=0.25, seed=4) @ launch=1");
  EXPECT_NE(*Launch(), once);
}

TEST_F(EmulatorFaults, HoldAWrongLoadForEveryLaunchOfTheProgram) {
  Open("wrong @ load=1");
  EXPECT_EQ(WrongRows(*Launch()), kRows);
  EXPECT_EQ(WrongRows(*Launch()), kRows);
  bound_.reset();
  EXPECT_EQ(*Launch(), expected_);
}

TEST_F(EmulatorFaults, AnswerWithNan) {
  Open("nan(rows=0.5) @ launch=1");
  int nans = 0, others = 0;
  const std::vector<float> values = *Launch();
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) {
      ++nans;
    } else {
      EXPECT_EQ(values[i], expected_[i]);
      ++others;
    }
  }
  EXPECT_GT(nans, 0);
  EXPECT_GT(others, 0);
}

TEST_F(EmulatorFaults, OverflowWhatTheGainLiftsBeyondTheLargestHalf) {
  float largest = 0;
  for (const float value : expected_) largest = std::max(largest, std::abs(value));
  const float limit = largest / 2;
  Open("overflow(gain=" + std::to_string(65504 / limit) + ") @ launch=1");
  const std::vector<float> values = *Launch();
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::abs(expected_[i]) > 1.001f * limit) {
      EXPECT_EQ(values[i], std::copysign(INFINITY, expected_[i]));
    } else if (std::abs(expected_[i]) < 0.999f * limit) {
      EXPECT_EQ(values[i], expected_[i]);
    }
  }
}

TEST_F(EmulatorFaults, HangUntilTheProgramIsUnloaded) {
  Open("hang @ launch=1");
  EXPECT_EQ(Launch(10).status().code(), StatusCode::kDeadlineExceeded);
  const RequestId hanging = request_;
  EXPECT_EQ(*Launch(), expected_);  // others go on
  EXPECT_EQ(device_->Wait(hanging, 10).status().code(), StatusCode::kDeadlineExceeded);
  bound_.reset();
  EXPECT_EQ(device_->Wait(hanging, kLongMs).status().code(), StatusCode::kCancelled);
}

TEST_F(EmulatorFaults, HangTheWholeDevice) {
  Open("hang(scope=device) @ launch=1");
  EXPECT_EQ(Launch(10).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Launch(10).status().code(), StatusCode::kDeadlineExceeded);
  bound_.reset();
  EXPECT_EQ(*Launch(), expected_);
}

TEST_F(EmulatorFaults, EndALoadThatHangsAtItsLimit) {
  Open("hang @ load=1", 20);
  const Status status = Load();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("20 ms"), std::string::npos);
  EXPECT_EQ(*Launch(), expected_);
}

TEST_F(EmulatorFaults, CrashTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Open("crash @ launch=1");
  ASSERT_TRUE(Load().ok());
  EXPECT_EXIT(static_cast<void>(Launch()), ::testing::KilledBySignal(SIGABRT), "");
  Open("crash @ load=1");
  EXPECT_EXIT(static_cast<void>(Load()), ::testing::KilledBySignal(SIGABRT), "");
}

TEST_F(EmulatorFaults, DisappearUntilReopened) {
  Open("lost @ launch=2");
  EXPECT_EQ(*Launch(), expected_);
  EXPECT_EQ(Launch().status().code(), StatusCode::kDeviceLost);
  EXPECT_EQ(Launch().status().code(), StatusCode::kDeviceLost);
  EXPECT_EQ(device_->Load(package_, "main").status().code(), StatusCode::kDeviceLost);
  EXPECT_EQ(device_->Supports(package_, "main").code(), StatusCode::kDeviceLost);
  ASSERT_TRUE(device_->Reopen().ok());
  EXPECT_EQ(Launch().status().code(), StatusCode::kDeviceLost);  // the program of before
  bound_.reset();
  EXPECT_EQ(*Launch(), expected_);
}

TEST_F(EmulatorFaults, DisappearWhileLoading) {
  Open("lost @ load=1");
  EXPECT_EQ(Load().code(), StatusCode::kDeviceLost);
  EXPECT_EQ(Load().code(), StatusCode::kDeviceLost);
  ASSERT_TRUE(device_->Reopen().ok());
  EXPECT_EQ(*Launch(), expected_);
}

TEST_F(EmulatorFaults, WorkOnMemoryOfTheCaller) {
  ASSERT_TRUE(Load().ok());
  const TensorSpec spec = bound_->program->outputs()[0];
  AlignedBuffer<std::byte> memory(spec.bytes());
  EXPECT_FALSE(bound_->program->Wrap(spec, memory.span().subspan(1)).ok());
  bound_->outputs[0] = *bound_->program->Wrap(spec, memory.span());
  EXPECT_EQ(*Launch(), expected_);
  EXPECT_EQ(LoadFloats(spec, memory.span()), expected_);
}

}  // namespace
}  // namespace npumoe::emulator
