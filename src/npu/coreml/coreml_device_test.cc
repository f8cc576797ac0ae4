// Launches over the double of Core ML: buffers, requests, time limits, failures.
#include <limits>
#include <thread>

#include "npu/coreml/coreml_program.h"
#include "npu/coreml/testing/coreml_testing.h"

namespace npumoe::coreml_device {
namespace {

using emulator::Bound;

class CoremlDeviceTest : public CoremlTest {
 protected:
  // A launch gives what the emulator gives, and nobody touched a buffer in flight.
  void ExpectTheEmulatorsAnswer() {
    const auto package = Package();
    const auto device = MakeDevice();
    Bound bound(Loaded(*device, package));
    for (const uint32_t seed : {1u, 2u}) {
      const std::vector<float> input = Input(*bound.program, seed);
      EXPECT_EQ(Launch(*device, bound, input), Expected(package, input));
    }
    EXPECT_EQ(bridge_->violations, 0);
  }
};

TEST_F(CoremlDeviceTest, ComputesOnSharedSurfacesWithoutACopy) {
  ExpectTheEmulatorsAnswer();
  EXPECT_GT(bridge_->surfaces, 0);
  EXPECT_EQ(bridge_->plain, 0);
}

TEST_F(CoremlDeviceTest, CopiesRowsOfPaddedSurfaces) {
  bridge_->script.row_padding = 24;
  ExpectTheEmulatorsAnswer();
}

TEST_F(CoremlDeviceTest, UsesPlainMemoryWhereTheSystemGivesNoSurface) {
  bridge_->script.gives_surfaces = false;
  ExpectTheEmulatorsAnswer();
  EXPECT_GT(bridge_->plain, 0);
}

TEST_F(CoremlDeviceTest, TakesOutputsThatCameBackInOtherMemory) {
  bridge_->script.uses_backings = false;
  ExpectTheEmulatorsAnswer();
}

TEST_F(CoremlDeviceTest, TakesPaddedOutputsThatCameBackInOtherMemoryIntoPaddedSurfaces) {
  bridge_->script.uses_backings = false;
  bridge_->script.foreign_padding = 5;
  bridge_->script.row_padding = 24;
  ExpectTheEmulatorsAnswer();
}

TEST_F(CoremlDeviceTest, TakesAnswersThatComeBeforeTheCallReturns) {
  bridge_->script.answers_at_once = true;
  ExpectTheEmulatorsAnswer();
}

TEST_F(CoremlDeviceTest, CountsTheFirstOfTwoAnswers) {
  bridge_->script.answers_twice = true;
  ExpectTheEmulatorsAnswer();
}

TEST_F(CoremlDeviceTest, RefusesOutputsThatWouldBeReadBeyondTheirMemory) {
  const auto device = MakeDevice();
  Bound bound(Loaded(*device, Package()));
  const std::shared_ptr<TensorMemory> memory =
      dynamic_cast<CoremlBuffer&>(*bound.outputs[0]).memory();
  ArrayLayout layout = memory->buffer()->layout();
  std::vector<std::byte> other(memory->spec().bytes() - 1);
  EXPECT_EQ(memory->TakeFrom(layout, other).code(), StatusCode::kInvalidInput);
  other.resize(memory->spec().bytes());
  EXPECT_TRUE(memory->TakeFrom(layout, other).ok());
  layout.strides[1] = 1 << 20;
  EXPECT_EQ(memory->TakeFrom(layout, other).code(), StatusCode::kInvalidInput);
  layout.strides[1] = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(memory->TakeFrom(layout, other).code(), StatusCode::kInvalidInput);
}

TEST_F(CoremlDeviceTest, SurvivesBuffersThatCannotBeLockedAgain) {
  const auto device = MakeDevice();
  Bound bound(Loaded(*device, Package()));
  bridge_->script.locks_again = false;
  const auto report = device->Wait(*bound.Submit(*device), kLongMs);
  EXPECT_EQ(report.status().code(), StatusCode::kIo);
  EXPECT_EQ(bound.outputs[0]->bytes().size(), bound.program->outputs()[0].bytes());
}

TEST_F(CoremlDeviceTest, RefusesABufferWhereThereIsNoMemoryForIt) {
  const auto device = MakeDevice();
  const auto program = Loaded(*device, Package());
  bridge_->script.gives_surfaces = bridge_->script.gives_plain_memory = false;
  EXPECT_FALSE(program->Allocate(program->inputs()[0]).ok());
}

TEST_F(CoremlDeviceTest, ARequestThatPassesItsTimeLimitMayBeWaitedForAgain) {
  const auto device = MakeDevice();
  Bound bound(Loaded(*device, Package()));
  bridge_->Hold(FakeBridge::Kind::kPredict);
  const RequestId request = *bound.Submit(*device);
  EXPECT_EQ(device->Wait(request, 1).status().code(), StatusCode::kDeadlineExceeded);
  bridge_->Release();
  EXPECT_TRUE(device->Wait(request, kLongMs).ok());
  EXPECT_EQ(device->Wait(request, 1).status().code(), StatusCode::kInvalidInput);
}

TEST_F(CoremlDeviceTest, ARequestOutlivesItsBuffersProgramAndDevice) {
  auto device = MakeDevice();
  auto bound = std::make_unique<Bound>(Loaded(*device, Package()));
  bridge_->Hold(FakeBridge::Kind::kPredict);
  ASSERT_TRUE(bound->Submit(*device).ok());
  bound.reset();
  device.reset();
  EXPECT_EQ(bridge_->models, 1);
  bridge_->Release();
  bridge_->WaitUntilIdle();
  EXPECT_EQ(bridge_->models, 0);
  EXPECT_EQ(bridge_->violations, 0);
}

TEST_F(CoremlDeviceTest, AServiceThatForgetsARequestCostsOnlyThatRequest) {
  const auto package = Package();
  const auto device = MakeDevice();
  Bound stuck(Loaded(*device, package)), other(Loaded(*device, package));
  bridge_->Hold(FakeBridge::Kind::kPredict);
  const RequestId request = *stuck.Submit(*device);
  bridge_->Drop();
  bridge_->Release();
  const std::vector<float> input = Input(*other.program);
  EXPECT_EQ(Launch(*device, other, input), Expected(package, input));
  EXPECT_EQ(device->Wait(request, 1).status().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(CoremlDeviceTest, AProgramWithARequestInFlightKeepsItsPlace) {
  profile_.limits.max_programs = 1;
  const auto package = Package();
  const auto device = MakeDevice();
  auto bound = std::make_unique<Bound>(Loaded(*device, package));
  bridge_->Hold(FakeBridge::Kind::kPredict);
  const RequestId request = *bound->Submit(*device);
  bound.reset();
  EXPECT_EQ(LoadStatus(*device, package).code(), StatusCode::kResourceExhausted);
  bridge_->Release();
  EXPECT_TRUE(device->Wait(request, kLongMs).ok());
  bridge_->WaitUntilIdle();
  EXPECT_TRUE(LoadStatus(*device, package).ok());
}

TEST_F(CoremlDeviceTest, RefusesMoreRequestsThanTheProfileAllows) {
  profile_.limits.max_requests_in_flight = 2;
  const auto device = MakeDevice();
  Bound first(Loaded(*device, Package())), second(Loaded(*device, Package()));
  Bound third(Loaded(*device, Package()));
  bridge_->Hold(FakeBridge::Kind::kPredict);
  const RequestId one = *first.Submit(*device);
  ASSERT_TRUE(second.Submit(*device).ok());
  EXPECT_EQ(third.Submit(*device).status().code(), StatusCode::kResourceExhausted);
  bridge_->Release();
  ASSERT_TRUE(device->Wait(one, kLongMs).ok());
  EXPECT_TRUE(third.Submit(*device).ok());
  bridge_->WaitUntilIdle();
}

TEST_F(CoremlDeviceTest, AFailedPredictionLeavesTheNextOneAlone) {
  const auto package = Package();
  const auto device = MakeDevice();
  Bound bound(Loaded(*device, package));
  bridge_->script.predict_failures.push_back({"com.apple.CoreML", 0, "Failed to evaluate"});
  const Status failed = device->Wait(*bound.Submit(*device), kLongMs).status();
  EXPECT_EQ(failed.code(), StatusCode::kIo);
  EXPECT_EQ(failed.message(), "prediction: Failed to evaluate (com.apple.CoreML 0)");
  const std::vector<float> input = Input(*bound.program);
  EXPECT_EQ(Launch(*device, bound, input), Expected(package, input));
}

TEST_F(CoremlDeviceTest, ALostDeviceNeedsToBeReopenedAndItsProgramsLoadedAgain) {
  const auto package = Package();
  const auto device = MakeDevice();
  Bound old(Loaded(*device, package));
  bridge_->script.predict_failures.push_back({"NSCocoaErrorDomain", 4097, "interrupted"});
  EXPECT_EQ(device->Wait(*old.Submit(*device), kLongMs).status().code(), StatusCode::kDeviceLost);
  EXPECT_EQ(old.Submit(*device).status().code(), StatusCode::kDeviceLost);
  EXPECT_EQ(LoadStatus(*device, package).code(), StatusCode::kDeviceLost);
  ASSERT_TRUE(device->Reopen().ok());
  EXPECT_EQ(old.Submit(*device).status().code(), StatusCode::kDeviceLost);
  Bound fresh(Loaded(*device, package));
  const std::vector<float> input = Input(*fresh.program);
  EXPECT_EQ(Launch(*device, fresh, input), Expected(package, input));
}

TEST_F(CoremlDeviceTest, StaysLostWhileThereIsNoNeuralEngine) {
  const auto device = MakeDevice();
  bridge_->script.facts.devices = {{ComputeUnit::kCpu, 0}};
  EXPECT_EQ(device->Reopen().code(), StatusCode::kDeviceLost);
}

TEST_F(CoremlDeviceTest, WakesTheNeuralEngineAfterIdleTimeOnly) {
  const auto package = Package();
  const auto device = MakeDevice();
  Bound bound(Loaded(*device, package));
  const std::vector<float> input = Input(*bound.program);
  const auto predictions_of_a_launch = [&] {
    const int before = bridge_->predictions;
    EXPECT_EQ(Launch(*device, bound, input), Expected(package, input));
    return bridge_->predictions - before;
  };
  EXPECT_EQ(bridge_->predictions, 3);  // of the load
  EXPECT_EQ(predictions_of_a_launch(), 1);
  clock_->Advance(4999);
  EXPECT_EQ(predictions_of_a_launch(), 1);
  clock_->Advance(5001);
  EXPECT_EQ(predictions_of_a_launch(), 4);
  EXPECT_EQ(predictions_of_a_launch(), 1);
}

TEST_F(CoremlDeviceTest, MeasuresFromTheEndOfThePredictionBefore) {
  RequestTable table(3);
  const RequestId a = *table.Add(), b = *table.Add(), failed = *table.Add();
  table.Finish(a, OkStatus(), {100, 130});
  table.Finish(b, OkStatus(), {101, 145});  // waited for the engine until 130
  table.Finish(failed, Status(StatusCode::kIo, "no"), {140, 141});
  EXPECT_EQ(table.Wait(a, 0)->time_ms, 30);
  EXPECT_EQ(table.Wait(b, 0)->time_ms, 15);
  EXPECT_FALSE(table.Wait(failed, 0).ok());
}

TEST_F(CoremlDeviceTest, RefusesMisuse) {
  const auto device = MakeDevice(), other = MakeDevice();
  Bound bound(Loaded(*device, Package())), foreign(Loaded(*other, Package()));
  EXPECT_EQ(foreign.Submit(*device).status().code(), StatusCode::kInvalidInput);
  std::vector<DeviceBuffer*> in = Bound::Pointers(bound.inputs);
  const std::vector<DeviceBuffer*> none;
  EXPECT_EQ(device->Submit({bound.program.get(), in, none, {}}).status().code(),
            StatusCode::kInvalidInput);
  // Input and output have one shape here, so that only the double use is wrong.
  EXPECT_EQ(device->Submit({bound.program.get(), in, in, {}}).status().code(),
            StatusCode::kInvalidInput);
  TensorSpec unknown = bound.program->inputs()[0];
  unknown.shape = Shape{1, 32, 1, 9};
  EXPECT_EQ(bound.program->Allocate(unknown).status().code(), StatusCode::kInvalidInput);
  EXPECT_EQ(device->Wait(4711, 0).status().code(), StatusCode::kInvalidInput);
  EXPECT_EQ(bridge_->violations, 0);
}

TEST_F(CoremlDeviceTest, TakesLoadsAndLaunchesFromManyThreads) {
  const auto package = Package();
  const auto device = MakeDevice();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Bound bound(*device->Load(package, "main"));
      const std::vector<float> input = Input(*bound.program, t);
      const std::vector<float> first = Launch(*device, bound, input);
      for (int i = 0; i < 20; ++i) wrong += Launch(*device, bound, input) != first;
      wrong += first != Expected(package, input);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(bridge_->compiles, 1);
  EXPECT_EQ(bridge_->violations, 0);
}

TEST_F(CoremlDeviceTest, NeedsABridgeAndANeuralEngine) {
  const auto none = MakeCoremlDevice(profile_, options_, {nullptr, clock_, [](double) {}});
  EXPECT_EQ(none.status().code(), StatusCode::kUnsupported);
  bridge_->script.facts.devices.pop_back();
  const auto without = MakeCoremlDevice(profile_, options_, {bridge_, clock_, [](double) {}});
  EXPECT_EQ(without.status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(MakeCoremlDevice("cpu", profile_, {}).status().code(), StatusCode::kUsage);
}

TEST_F(CoremlDeviceTest, SaysWhatItIs) {
  const DeviceInfo info = MakeDevice()->info();
  EXPECT_EQ(info.name, "coreml");
  EXPECT_EQ(info.description, "Neural Engine of Apple M2 Max through Core ML (measured time)");
  EXPECT_EQ(info.version, "macOS 15.5 (24F74)");
}

}  // namespace
}  // namespace npumoe::coreml_device
