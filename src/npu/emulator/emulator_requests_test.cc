// Requests: buffers, several in flight from several threads, unloading, modelled cost.
#include <array>
#include <thread>

#include "npu/emulator/emulator_testing.h"

namespace npumoe::emulator {
namespace {

using npumoe::testing::ExpertGraph;
using npumoe::testing::ScratchFolder;

constexpr int64_t kHidden = 32, kIntermediate = 16;

class EmulatorRequests : public ::testing::Test {
 protected:
  void SetUp() override {
    package_ = WritePackage(
        folder_, {ExpertGraph(GraphForm::kDenseChains, {kHidden, kIntermediate}, {16, 48})});
  }
  Bound LoadOn(Device& device) { return Bound(*device.Load(package_, "main")); }
  void Fill(Bound& bound, uint32_t seed) {
    for (size_t i = 0; i < bound.inputs.size(); ++i) {
      const TensorSpec& spec = bound.program->inputs()[i];
      StoreFloats(spec, RandomValues(spec.shape.elements(), seed + static_cast<uint32_t>(i)),
                  bound.inputs[i]->bytes());
    }
  }
  std::vector<float> Result0(Bound& bound) {
    return LoadFloats(bound.program->outputs()[0], bound.outputs[0]->bytes());
  }
  void ExpectRefused(const npumoe::Result<RequestId>& request, const std::string& words) {
    EXPECT_EQ(request.status().code(), StatusCode::kInvalidInput);
    EXPECT_NE(request.status().message().find(words), std::string::npos)
        << request.status().message();
  }

  ScratchFolder folder_;
  std::filesystem::path package_;
  ThreadPool pool_{2};
};

TEST_F(EmulatorRequests, FromSeveralThreadsAreAllAnsweredRight) {
  const auto device = MakeTestDevice(pool_);
  Bound reference = LoadOn(*device);
  std::vector<std::vector<float>> expected;
  for (uint32_t seed = 0; seed < 3; ++seed) {
    Fill(reference, 10 * seed);
    ASSERT_TRUE(device->Wait(*reference.Submit(*device), kLongMs).ok());
    expected.push_back(Result0(reference));
  }
  std::vector<std::thread> threads;
  std::vector<int> wrong(3, 0);
  for (uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::vector<Bound> own;
      for (int i = 0; i < 3; ++i) own.push_back(LoadOn(*device));
      for (int round = 0; round < 6; ++round) {
        std::vector<RequestId> ids;
        for (Bound& bound : own) {
          Fill(bound, 10 * t);
          ids.push_back(*bound.Submit(*device));
        }
        for (size_t i = own.size(); i-- > 0;) {  // not in the order of submission
          if (!device->Wait(ids[i], kLongMs).ok()) ++wrong[t];
          if (Result0(own[i]) != expected[t]) ++wrong[t];
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::vector<int>{0, 0, 0}));
}

TEST_F(EmulatorRequests, AreRefusedBeyondTheLimitInFlight) {
  ChipProfile profile = TestProfile();
  profile.limits.max_requests_in_flight = 2;
  const auto device = MakeTestDevice(pool_, profile, EmulatorStart::kOnWait);
  Bound a = LoadOn(*device), b = LoadOn(*device), c = LoadOn(*device);
  const RequestId first = *a.Submit(*device);
  ASSERT_TRUE(b.Submit(*device).ok());
  EXPECT_EQ(c.Submit(*device).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(device->Wait(first, kLongMs).ok());
  EXPECT_TRUE(c.Submit(*device).ok());
}

TEST_F(EmulatorRequests, OfAnUnloadedProgramAreCancelled) {
  const auto device = MakeTestDevice(pool_, TestProfile(), EmulatorStart::kOnWait);
  auto bound = std::make_unique<Bound>(LoadOn(*device));
  const RequestId id = *bound->Submit(*device);
  bound.reset();
  EXPECT_EQ(device->Wait(id, kLongMs).status().code(), StatusCode::kCancelled);
}

TEST_F(EmulatorRequests, SurviveUnloadingWhileTheyRun) {
  const auto device = MakeTestDevice(pool_);
  for (int i = 0; i < 20; ++i) {
    Bound bound = LoadOn(*device);
    const RequestId id = *bound.Submit(*device);
    bound.program.reset();  // before the buffers, which the request may still use until then
    const StatusCode code = device->Wait(id, kLongMs).status().code();
    EXPECT_TRUE(code == StatusCode::kOk || code == StatusCode::kCancelled) << Name(code);
  }
}

TEST_F(EmulatorRequests, MayLeaveAProgramThatOutlivesItsDevice) {
  auto device = MakeTestDevice(pool_);
  Bound bound = LoadOn(*device);
  device.reset();
  EXPECT_EQ(bound.program->inputs().size(), 2u);
}

TEST_F(EmulatorRequests, NeedEveryBuffer) {
  const auto device = MakeTestDevice(pool_);
  Bound bound = LoadOn(*device);
  bound.outputs.pop_back();
  ExpectRefused(bound.Submit(*device), "1 output buffers; the program has 2");
}

TEST_F(EmulatorRequests, NeedBuffersOfTheDeclaredShape) {
  const auto device = MakeTestDevice(pool_);
  Bound bound = LoadOn(*device);
  std::swap(bound.inputs[0], bound.inputs[1]);
  ExpectRefused(bound.Submit(*device), "[1, 32, 1, 16]");
}

TEST_F(EmulatorRequests, DoNotShareABufferBetweenOutputAndAnythingElse) {
  const auto device = MakeTestDevice(pool_);
  Bound bound = LoadOn(*device);
  const auto in = Bound::Pointers(bound.inputs);
  auto out = Bound::Pointers(bound.outputs);
  out[0] = in[0];
  ExpectRefused(
      device->Submit({.program = bound.program.get(), .inputs = in, .outputs = out, .rows = {}}),
      "bound to an output and to something else");
}

TEST_F(EmulatorRequests, NeedAProgramOfThisDevice) {
  const auto device = MakeTestDevice(pool_);
  const auto other = MakeTestDevice(pool_);
  Bound bound = LoadOn(*other);
  ExpectRefused(bound.Submit(*device), "not loaded by this device");
  ExpectRefused(device->Submit({}), "not loaded by this device");
}

TEST_F(EmulatorRequests, RefuseRowsAboveTheCapacity) {
  const auto device = MakeTestDevice(pool_);
  Bound bound = LoadOn(*device);
  ExpectRefused(bound.Submit(*device, {17, 48}), "17 rows of input 'x_3'");
  ExpectRefused(bound.Submit(*device, {-1, 48}), "-1 rows");
  ExpectRefused(bound.Submit(*device, {16}), "1 row counts for 2 inputs");
}

TEST_F(EmulatorRequests, AllocateOnlyWhatTheProgramDeclares) {
  const auto device = MakeTestDevice(pool_);
  Bound bound = LoadOn(*device);
  TensorSpec spec = bound.program->inputs()[0];
  spec.shape = Shape{1, 32, 1, int64_t{1} << 40};
  EXPECT_EQ(bound.program->Allocate(spec).status().code(), StatusCode::kInvalidInput);
}

// What the planner computes: one work per expert, with the sums over its three products.
LaunchCost PlannedCost(const NpuCosts& npu, std::span<const double> rows) {
  constexpr double kWeights = 3.0 * kHidden * kIntermediate;
  std::vector<LaunchWork> works;
  for (double r : rows) works.push_back({r, 2 * r * kWeights, 2 * kWeights});
  return ModelLaunch(npu, works, 2 * 2.0 * (16 + 48) * kHidden);
}

TEST_F(EmulatorRequests, CostWhatThePlannerPredicts) {
  const auto device = MakeTestDevice(pool_);
  Bound bound = LoadOn(*device);
  const auto report = device->Wait(*bound.Submit(*device), kLongMs);
  ASSERT_TRUE(report.ok());
  const LaunchCost planned = PlannedCost(TestProfile().npu, std::array{16.0, 48.0});
  EXPECT_TRUE(report->modelled);
  EXPECT_NEAR(report->time_ms, planned.total_ms(), 1e-12 * planned.total_ms());
  EXPECT_NEAR(report->energy_j, planned.energy_j, 1e-12 * planned.energy_j);
}

TEST_F(EmulatorRequests, CostTheSameForFewerRowsOnAStaticChip) {
  const auto device = MakeTestDevice(pool_);
  Bound bound = LoadOn(*device);
  const double full = device->Wait(*bound.Submit(*device), kLongMs)->time_ms;
  EXPECT_EQ(device->Wait(*bound.Submit(*device, {1, 0}), kLongMs)->time_ms, full);
}

TEST_F(EmulatorRequests, CostByRowsWhereTheProfileSaysSo) {
  ChipProfile profile = TestProfile();
  profile.npu.cost_follows_rows = true;
  profile.npu.stream_gb_per_s.value = 1e5;  // so that arithmetic decides
  const auto device = MakeTestDevice(pool_, profile);
  Bound bound = LoadOn(*device);
  const auto report = device->Wait(*bound.Submit(*device, {5, 40}), kLongMs);
  const double planned = PlannedCost(profile.npu, std::array{5.0, 40.0}).total_ms();
  EXPECT_NEAR(report->time_ms, planned, 1e-12 * planned);
  EXPECT_LT(report->time_ms, device->Wait(*bound.Submit(*device), kLongMs)->time_ms);
}

class GroupedForm : public ::testing::TestWithParam<GraphForm> {};

TEST_P(GroupedForm, CostsWhatThePlannerPredicts) {
  const ScratchFolder folder;
  ThreadPool pool(1);
  const auto device = MakeTestDevice(pool);
  const auto package =
      WritePackage(folder, {ExpertGraph(GetParam(), {kHidden, kIntermediate}, {48, 48, 48})});
  Bound bound(*device->Load(package, "main"));
  const auto report = device->Wait(*bound.Submit(*device), kLongMs);
  constexpr double kWeights = 3.0 * kHidden * kIntermediate;
  const std::vector<LaunchWork> works(3, LaunchWork{48, 2 * 48 * kWeights, 2 * kWeights});
  const LaunchCost planned = ModelLaunch(TestProfile().npu, works, 2 * 2.0 * (3 * 48) * kHidden);
  EXPECT_NEAR(report->time_ms, planned.total_ms(), 1e-12 * planned.total_ms());
  EXPECT_EQ(bound.program->weight_bytes(), static_cast<int64_t>(3 * 2 * kWeights));
}

INSTANTIATE_TEST_SUITE_P(Forms, GroupedForm,
                         ::testing::Values(GraphForm::kGroupedConv, GraphForm::kBatchedMatmul,
                                           GraphForm::kDenseChains),
                         [](const auto& test) { return std::string(Name(test.param)); });

}  // namespace
}  // namespace npumoe::emulator
