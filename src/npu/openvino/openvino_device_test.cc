// The device's behaviour beside its numbers: requests, buffers, failures.
#include <atomic>
#include <thread>

#include "graph/testing/package_files.h"
#include "npu/openvino/openvino_testing.h"

namespace npumoe::openvino {
namespace {

using npumoe::testing::ExpertGraph;
using npumoe::testing::ExpertSizes;

constexpr ExpertSizes kSmall{32, 48};
constexpr ExpertSizes kLarge{1024, 2048};  // tens of milliseconds a launch

class OpenvinoDevice : public OpenvinoTest {
 protected:
  Bound Load(Device& device, const Graph& graph) {
    auto loaded = device.Load(WritePackage(folder_, {graph}), graph.name);
    NPUMOE_CHECK(loaded.ok());
    return Bound(*std::move(loaded));
  }
  static void FillWith(Bound& bound, uint32_t seed) {
    const TensorSpec& spec = bound.program->inputs()[0];
    StoreFloats(spec, RandomValues(spec.shape.elements(), seed), bound.inputs[0]->bytes());
  }
  static Floats OutputOf(Bound& bound) {
    return LoadFloats(bound.program->outputs()[0], bound.outputs[0]->bytes());
  }

  ScratchFolder folder_;
  ThreadPool pool_{2};
};

TEST_F(OpenvinoDevice, SaysWhatItIsAndThatItsTimesAreMeasured) {
  const auto device = OpenCpu(pool_);
  EXPECT_EQ(device->info().name, "openvino:CPU");
  EXPECT_EQ(device->info().version.substr(0, 2), "20");
  EXPECT_NE(device->info().description.find("measured"), std::string::npos);
  Bound bound = Load(*device, ExpertGraph(GraphForm::kDenseChains, kSmall, {16}));
  EXPECT_GT(bound.program->load_report().time_ms, 0);
  const auto report = device->Wait(*bound.Submit(*device), kLongMs);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_FALSE(report->modelled);
  EXPECT_GT(report->time_ms, 0);
  EXPECT_LT(report->time_ms, kLongMs);
}

TEST_F(OpenvinoDevice, TakesTheFirstTargetThatIsThere) {
  const auto device = MakeDevice("openvino", TestProfile(), pool_);
  ASSERT_TRUE(device.ok()) << device.status().message();
  std::string first;
  for (const DeviceListing& listing : OpenvinoListings()) {
    if (first.empty() && listing.available && listing.name != "openvino") first = listing.name;
  }
  EXPECT_EQ((*device)->info().name, first);
}

TEST_F(OpenvinoDevice, RefusesATargetThatIsNone) {
  const Status status = MakeDevice("openvino:TPU", TestProfile(), pool_).status();
  EXPECT_EQ(status.code(), StatusCode::kUsage);
  EXPECT_NE(status.message().find("known: NPU, GPU, CPU"), std::string::npos) << status.message();
}

TEST_F(OpenvinoDevice, ListsWhatIsMissingForEachTarget) {
  std::vector<std::string> names;
  for (const DeviceListing& listing : OpenvinoListings()) {
    names.push_back(listing.name);
    EXPECT_FALSE(listing.version.empty());
    EXPECT_FALSE(listing.note.empty());
    const auto device = MakeDevice(listing.name, TestProfile(), pool_);
    EXPECT_EQ(device.ok(), listing.available) << listing.name;
    if (device.ok()) continue;
    EXPECT_EQ(device.status().code(), StatusCode::kUnsupported);
    EXPECT_NE(device.status().message().find(listing.note), std::string::npos);
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"openvino", "openvino:NPU", "openvino:GPU", "openvino:CPU"}));
}

TEST_F(OpenvinoDevice, AnswersEveryThreadWithItsOwnOutput) {
  const auto device = OpenCpu(pool_);
  constexpr uint32_t kThreads = 4, kRounds = 20;
  const Graph graph = ExpertGraph(GraphForm::kDenseChains, kSmall, {16});
  const std::filesystem::path package = WritePackage(folder_, {graph});
  const std::shared_ptr<Program> program = *device->Load(package, "main");
  std::vector<Floats> alone(kThreads);
  Bound bound = Load(*device, graph);
  for (uint32_t t = 0; t < kThreads; ++t) {
    FillWith(bound, t);
    ASSERT_TRUE(device->Wait(*bound.Submit(*device), kLongMs).ok());
    alone[t] = OutputOf(bound);
  }
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const TensorSpec &in = program->inputs()[0], &out = program->outputs()[0];
      const auto input = *program->Allocate(in), output = *program->Allocate(out);
      StoreFloats(in, RandomValues(in.shape.elements(), t), input->bytes());
      DeviceBuffer* const inputs[] = {input.get()};
      DeviceBuffer* const outputs[] = {output.get()};
      for (uint32_t i = 0; i < kRounds; ++i) {
        const auto id = device->Submit({program.get(), inputs, outputs, {}});
        if (!id.ok() || !device->Wait(*id, kLongMs).ok()) continue;
        if (LoadFloats(out, output->bytes()) == alone[t]) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, static_cast<int>(kThreads * kRounds));
}

TEST_F(OpenvinoDevice, KeepsSeveralRequestsOfOneProgramInFlight) {
  const auto device = OpenCpu(pool_);
  const Graph graph = ExpertGraph(GraphForm::kDenseChains, kSmall, {16});
  std::vector<Bound> requests;
  const auto program = device->Load(WritePackage(folder_, {graph}), "main");
  ASSERT_TRUE(program.ok());
  std::vector<std::unique_ptr<DeviceBuffer>> inputs, outputs;
  std::vector<RequestId> ids;
  const TensorSpec &in = (*program)->inputs()[0], &out = (*program)->outputs()[0];
  for (uint32_t i = 0; i < 3; ++i) {
    inputs.push_back(*(*program)->Allocate(in));
    outputs.push_back(*(*program)->Allocate(out));
    StoreFloats(in, RandomValues(in.shape.elements(), i % 2), inputs.back()->bytes());
    DeviceBuffer* const from[] = {inputs.back().get()};
    DeviceBuffer* const to[] = {outputs.back().get()};
    ids.push_back(*device->Submit({program->get(), from, to, {}}));
  }
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
    EXPECT_TRUE(device->Wait(*id, kLongMs).ok());
  }
  const auto floats = [&](size_t i) { return LoadFloats(out, outputs[i]->bytes()); };
  EXPECT_EQ(floats(0), floats(2));
  EXPECT_NE(floats(0), floats(1));
}

TEST_F(OpenvinoDevice, RefusesMoreRequestsThanTheProfileAllows) {
  ChipProfile profile = TestProfile();
  profile.limits.max_requests_in_flight = 1;
  const auto device = MakeDevice("openvino:CPU", profile, pool_);
  ASSERT_TRUE(device.ok());
  Bound bound = Load(**device, ExpertGraph(GraphForm::kDenseChains, kSmall, {16}));
  const RequestId first = *bound.Submit(**device);
  EXPECT_EQ(bound.Submit(**device).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE((*device)->Wait(first, kLongMs).ok());
  EXPECT_TRUE((*device)->Wait(*bound.Submit(**device), kLongMs).ok());
}

TEST_F(OpenvinoDevice, MayBeWaitedForAgainAfterTheDeadline) {
  ThreadPool one(1);
  const auto device = OpenCpu(one);
  Bound bound = Load(*device, ExpertGraph(GraphForm::kDenseChains, kLarge, {512}));
  FillWith(bound, 1);
  const RequestId id = *bound.Submit(*device);
  EXPECT_EQ(device->Wait(id, 0).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(device->Wait(id, kLongMs).ok());
  EXPECT_EQ(device->Wait(id, kLongMs).status().code(), StatusCode::kInvalidInput);
}

TEST_F(OpenvinoDevice, MayBeClosedWithRequestsInFlight) {
  ThreadPool one(1);
  auto device = OpenCpu(one);
  auto bound =
      std::make_unique<Bound>(Load(*device, ExpertGraph(GraphForm::kDenseChains, kLarge, {128})));
  const RequestId running = *bound->Submit(*device);
  const RequestId waiting = *bound->Submit(*device);
  bound->program.reset();
  EXPECT_TRUE(device->Wait(running, kLongMs).ok());
  EXPECT_EQ(device->Wait(waiting, kLongMs).status().code(), StatusCode::kCancelled);
}

TEST_F(OpenvinoDevice, ProgramsOutliveTheDevice) {
  auto device = OpenCpu(pool_);
  const auto other = OpenCpu(pool_);
  Bound bound = Load(*device, ExpertGraph(GraphForm::kDenseChains, kSmall, {16}));
  device.reset();
  const auto request = bound.Submit(*other);  // of another device
  EXPECT_EQ(request.status().code(), StatusCode::kDeviceLost);
}

TEST_F(OpenvinoDevice, MayBeOpenedAgainAndThenLoadsAgain) {
  const auto device = OpenCpu(pool_);
  const Graph graph = ExpertGraph(GraphForm::kDenseChains, kSmall, {16});
  Bound before = Load(*device, graph);
  const RequestId first = *before.Submit(*device);
  ASSERT_TRUE(device->Wait(first, kLongMs).ok());
  const Status opened = device->Reopen();
  ASSERT_TRUE(opened.ok()) << opened.message();
  EXPECT_EQ(before.Submit(*device).status().code(), StatusCode::kDeviceLost);
  Bound after = Load(*device, graph);
  const RequestId second = *after.Submit(*device);
  EXPECT_GT(second, first);
  EXPECT_TRUE(device->Wait(second, kLongMs).ok());
}

TEST_F(OpenvinoDevice, ReadsAndWritesMemoryOfTheCaller) {
  const auto device = OpenCpu(pool_);
  Bound bound = Load(*device, ExpertGraph(GraphForm::kDenseChains, kSmall, {16}));
  FillWith(bound, 5);
  ASSERT_TRUE(device->Wait(*bound.Submit(*device), kLongMs).ok());
  const Floats expected = OutputOf(bound);
  const TensorSpec& spec = bound.program->outputs()[0];
  AlignedBuffer<std::byte> memory(spec.bytes() + 64);
  auto wrapped = bound.program->Wrap(spec, memory.span().first(spec.bytes()));
  ASSERT_TRUE(wrapped.ok()) << wrapped.status().message();
  bound.outputs[0] = *std::move(wrapped);
  ASSERT_TRUE(device->Wait(*bound.Submit(*device), kLongMs).ok());
  EXPECT_EQ(LoadFloats(spec, memory.span().first(spec.bytes())), expected);

  const auto refused = [&](std::span<std::byte> bytes) {
    return bound.program->Wrap(spec, bytes).status().code();
  };
  EXPECT_EQ(refused(memory.span().first(spec.bytes() - 1)), StatusCode::kInvalidInput);
  EXPECT_EQ(refused(memory.span().subspan(1, spec.bytes())), StatusCode::kInvalidInput);
}

TEST_F(OpenvinoDevice, RefusesBuffersThatDoNotFit) {
  const auto device = OpenCpu(pool_);
  Bound bound = Load(*device, ExpertGraph(GraphForm::kDenseChains, kSmall, {16}));
  Bound wider = Load(*device, ExpertGraph(GraphForm::kDenseChains, kSmall, {32}));
  const auto submit = [&](std::vector<DeviceBuffer*> in, std::vector<DeviceBuffer*> out) {
    return device->Submit({bound.program.get(), in, out, {}}).status().code();
  };
  DeviceBuffer* const x = bound.inputs[0].get();
  DeviceBuffer* const y = bound.outputs[0].get();
  EXPECT_EQ(submit({}, {y}), StatusCode::kInvalidInput);
  EXPECT_EQ(submit({wider.inputs[0].get()}, {y}), StatusCode::kInvalidInput);
  EXPECT_EQ(submit({y}, {y}), StatusCode::kInvalidInput);
  emulator::Bound foreign(*emulator::MakeTestDevice(pool_)->Load(
      WritePackage(folder_, {ExpertGraph(GraphForm::kDenseChains, kSmall, {16})}), "main"));
  EXPECT_EQ(submit({foreign.inputs[0].get()}, {y}), StatusCode::kInvalidInput);
  EXPECT_EQ(submit({x}, {y}), StatusCode::kOk);
  EXPECT_EQ(bound.program->Allocate({"z", DType::kF16, Shape{7}}).status().code(),
            StatusCode::kInvalidInput);
}

TEST_F(OpenvinoDevice, SupportsWhatItLoads) {
  const auto device = OpenCpu(pool_);
  const std::filesystem::path package = WritePackage(folder_, {npumoe::testing::EveryOperation()});
  const Status supported = device->Supports(package, "main");
  EXPECT_TRUE(supported.ok()) << supported.message();
  EXPECT_EQ(device->Supports(package, "other").code(), StatusCode::kNotFound);
  EXPECT_EQ(device->Load(package, "other").status().code(), StatusCode::kNotFound);
}

TEST_F(OpenvinoDevice, RefusesWhatHasNoCounterpart) {
  GraphBuilder b("main");
  const auto x = b.Input("x", DType::kI32, Shape{4});
  b.Output(b.RealDiv("y", x, x));
  const std::filesystem::path package = WritePackage(folder_, {*std::move(b).Finish()});
  const auto device = OpenCpu(pool_);
  for (const Status& status :
       {device->Supports(package, "main"), device->Load(package, "main").status()}) {
    EXPECT_EQ(status.code(), StatusCode::kUnsupported);
    EXPECT_NE(status.message().find("operation 'y' (real_div)"), std::string::npos)
        << status.message();
  }
}

TEST_F(OpenvinoDevice, RefusesDamagedPackages) {
  const auto device = OpenCpu(pool_);
  const Graph graph = ExpertGraph(GraphForm::kDenseChains, kSmall, {16});
  EXPECT_EQ(device->Load(folder_ / "none.mlpackage", "main").status().code(),
            StatusCode::kNotFound);
  const auto load_damaged = [&](auto file_of, auto damage) {
    const std::filesystem::path package = WritePackage(folder_, {graph});
    std::string bytes = npumoe::testing::ReadBytes(file_of(package));
    damage(bytes);
    npumoe::testing::WriteBytes(file_of(package), bytes);
    return device->Load(package, "main").status().code();
  };
  const auto flip = [](std::string& bytes) { bytes[bytes.size() / 2] ^= 0x40; };
  const auto cut = [](std::string& bytes) { bytes.resize(bytes.size() / 2); };
  const auto cut_all = [](std::string& bytes) { bytes.clear(); };
  using npumoe::testing::ModelFile;
  using npumoe::testing::WeightFile;
  EXPECT_EQ(load_damaged(WeightFile, flip), StatusCode::kInvalidInput);
  EXPECT_EQ(load_damaged(WeightFile, cut), StatusCode::kInvalidInput);
  EXPECT_EQ(load_damaged(WeightFile, cut_all), StatusCode::kInvalidInput);
  EXPECT_EQ(load_damaged(ModelFile, cut), StatusCode::kInvalidInput);
}

// A package that is replaced while programs of it are loaded is read again.
TEST_F(OpenvinoDevice, ReadsAPackageAgainWhenItWasReplaced) {
  const auto device = OpenCpu(pool_);
  Bound before = Load(*device, ExpertGraph(GraphForm::kDenseChains, kSmall, {16}));
  Bound after = Load(*device, ExpertGraph(GraphForm::kDenseChains, kSmall, {32}));
  EXPECT_EQ(before.program->inputs()[0].shape[3], 16);
  EXPECT_EQ(after.program->inputs()[0].shape[3], 32);
}

}  // namespace
}  // namespace npumoe::openvino
