// Programs in worker processes answer as in one process, and there is room for more of them.
#include <atomic>
#include <set>
#include <thread>

#include "npu/device_registry.h"
#include "npu/worker/worker_testing.h"

namespace npumoe::worker {
namespace {

using emulator::WritePackage;
using npumoe::testing::ExpertGraph;

class WorkerDeviceTest : public WorkerTest {};

TEST_F(WorkerDeviceTest, AnswersAsTheDeviceInOneProcess) {
  const auto device = MakeTestWorkers(TestOptions());
  EXPECT_EQ(device->info().name, "emulator");
  EXPECT_NE(device->info().description.find("m2-max"), std::string::npos);
  EXPECT_NE(device->info().description.find("in 1 worker process"), std::string::npos);
  Bound bound = LoadOn(*device);
  EXPECT_GT(bound.program->weight_bytes(), 0);
  EXPECT_GT(bound.program->compute_plan()->on_device, 0);
  for (uint32_t seed = 0; seed < kSeeds; ++seed) ExpectRight(*device, bound, seed);
  EXPECT_EQ(device->health().restarts, 0);
  EXPECT_EQ(device->health().replays, 0);
}

TEST_F(WorkerDeviceTest, IsMadeByTheRegistry) {
  DeviceOptions options;
  options.workers = 2;
  options.worker_program = NPUMOE_WORKER_HOST;
  const auto device = MakeDevice("emulator", emulator::TestProfile(), pool_, options);
  ASSERT_TRUE(device.ok()) << device.status().message();
  EXPECT_EQ(Children().size(), 2u);
  Bound bound = LoadOn(**device);
  ExpectRight(**device, bound, 1);
}

TEST_F(WorkerDeviceTest, GivesEveryWorkerTheProfilesProgramsAgain) {
  const ChipProfile profile =
      ProfileWith("max_programs = { value = 120", "max_programs = { value = 2");
  const auto device = MakeTestWorkers(TestOptions(3), profile);
  std::vector<Bound> loaded;
  for (int i = 0; i < 6; ++i) loaded.push_back(LoadOn(*device));
  const Status seventh = device->Load(package_, "main").status();
  EXPECT_EQ(seventh.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(seventh.message().find("too-many-programs"), std::string::npos) << seventh.message();
  EXPECT_EQ(device->Supports(package_, "main").code(), StatusCode::kResourceExhausted);
  loaded.pop_back();
  EXPECT_TRUE(device->Supports(package_, "main").ok());
  loaded.push_back(LoadOn(*device));
  for (Bound& bound : loaded) ExpectRight(*device, bound, 2);
}

TEST_F(WorkerDeviceTest, SharesBuffersBetweenProgramsOfDifferentWorkers) {
  const auto device = MakeTestWorkers(TestOptions(2));
  Bound first = LoadOn(*device), second = LoadOn(*device);
  std::swap(first.inputs, second.inputs);
  std::swap(first.outputs, second.outputs);
  ExpectRight(*device, first, 0);
  ExpectRight(*device, second, 1);
}

TEST_F(WorkerDeviceTest, AnswersManyRequestsFromManyThreads) {
  const auto device = MakeTestWorkers(TestOptions(2));
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::vector<Bound> own;
      for (int i = 0; i < 3; ++i) own.push_back(LoadOn(*device));
      for (uint32_t round = 0; round < 20; ++round) {
        std::vector<RequestId> ids;
        for (Bound& bound : own) {
          Fill(bound, (t + round) % kSeeds);
          ids.push_back(*bound.Submit(*device));
        }
        for (size_t i = own.size(); i-- > 0;) {
          EXPECT_TRUE(device->Wait(ids[i], kLongMs).ok());
          EXPECT_EQ(OutputOf(own[i]), expected_[(t + round) % kSeeds]);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(WorkerDeviceTest, SendsNothingBeforeSomebodyWaitsWhenToldSo) {
  WorkerDeviceOptions options = TestOptions();
  options.start = LaunchStart::kOnWait;
  const auto device = MakeTestWorkers(options);
  Bound first = LoadOn(*device), second = LoadOn(*device);
  Fill(first, 0);
  Fill(second, 1);
  const RequestId early = *first.Submit(*device);
  const RequestId late = *second.Submit(*device);
  ASSERT_TRUE(device->Wait(early, kLongMs).ok());
  EXPECT_EQ(OutputOf(first), expected_[0]);
  Fill(second, 2);  // still ours: it was not sent
  ASSERT_TRUE(device->Wait(late, kLongMs).ok());
  EXPECT_EQ(OutputOf(second), expected_[2]);
}

TEST_F(WorkerDeviceTest, ReturnsFromWaitOnlyWhenAllThatItReleasedHasEnded) {
  WorkerDeviceOptions options =
      TestOptions(2, "slow-compile(modelled-s=0, sleep-ms=300) @ launch=2");
  options.start = LaunchStart::kOnWait;
  const auto device = MakeTestWorkers(options);
  std::vector<Bound> loaded;
  for (int i = 0; i < 2; ++i) loaded.push_back(LoadOn(*device));  // one in each worker
  ExpectRight(*device, loaded[1], 0);
  const RequestId slow = *loaded[0].Submit(*device);
  const RequestId quick = *loaded[1].Submit(*device);
  ASSERT_TRUE(device->Wait(quick, kLongMs).ok());
  EXPECT_TRUE(device->Wait(slow, 0).ok()) << "was still running";
}

TEST_F(WorkerDeviceTest, ReachesDeadlinesAndMayBeWaitedForAgain) {
  const auto device =
      MakeTestWorkers(TestOptions(1, "slow-compile(modelled-s=0, sleep-ms=200) @ launch=1"));
  Bound bound = LoadOn(*device);
  Fill(bound, 1);
  const RequestId id = *bound.Submit(*device);
  for (const double timeout_ms : {0.0, 1.0, -5.0, std::nan("")}) {
    EXPECT_EQ(device->Wait(id, timeout_ms).status().code(), StatusCode::kDeadlineExceeded);
  }
  EXPECT_TRUE(device->Wait(id, kLongMs).ok());
  EXPECT_EQ(OutputOf(bound), expected_[1]);
  EXPECT_EQ(device->Wait(id, kLongMs).status().code(), StatusCode::kInvalidInput);
  EXPECT_EQ(device->Wait(999, kLongMs).status().code(), StatusCode::kInvalidInput);
}

TEST_F(WorkerDeviceTest, RefusesRequestsThatDoNotFitTheirProgram) {
  const auto device = MakeTestWorkers(TestOptions());
  const auto other_device = emulator::MakeTestDevice(pool_);
  Bound bound = LoadOn(*device), other = LoadOn(*other_device);
  const auto submit = [&](DeviceBuffer* in, DeviceBuffer* out, std::vector<int> rows = {}) {
    return device->Submit({bound.program.get(), {&in, 1}, {&out, 1}, rows}).status().message();
  };
  EXPECT_NE(submit(other.inputs[0].get(), bound.outputs[0].get()).find("not allocated by this"),
            std::string::npos);
  EXPECT_NE(submit(bound.inputs[0].get(), bound.inputs[0].get()).find("something else"),
            std::string::npos);
  EXPECT_NE(submit(bound.inputs[0].get(), bound.outputs[0].get(), {1, 2}).find("row counts"),
            std::string::npos);
  EXPECT_FALSE(device->Submit({other.program.get(), {}, {}, {}}).ok());
  EXPECT_FALSE(device->Submit({bound.program.get(), {}, {}, {}}).ok());
  // What only the worker's device knows comes with the answer.
  const auto request = bound.Submit(*device, {kRows + 1});
  EXPECT_EQ(device->Wait(*request, kLongMs).status().code(), StatusCode::kInvalidInput);
  ExpectRight(*device, bound, 0);
  EXPECT_EQ(device->health().restarts, 0);
}

TEST_F(WorkerDeviceTest, PassesOnWhyAPackageIsRefused) {
  const auto device = MakeTestWorkers(TestOptions());
  EXPECT_FALSE(device->Load(folder_ / "absent.mlpackage", "main").ok());
  EXPECT_EQ(device->Load(package_, "rows_64").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(device->Supports(package_, "rows_64").code(), StatusCode::kNotFound);
}

TEST_F(WorkerDeviceTest, CancelsWhatWaitsWhenItsProgramGoes) {
  WorkerDeviceOptions options = TestOptions();
  options.start = LaunchStart::kOnWait;
  const auto device = MakeTestWorkers(options);
  Bound bound = LoadOn(*device);
  const RequestId id = *bound.Submit(*device);
  bound.program.reset();
  EXPECT_EQ(device->Wait(id, kLongMs).status().code(), StatusCode::kCancelled);
}

TEST_F(WorkerDeviceTest, MayGoBeforeItsProgramsAndBuffers) {
  auto device = MakeTestWorkers(TestOptions());
  Bound bound = LoadOn(*device);
  device.reset();
  Fill(bound, 1);
}

TEST_F(WorkerDeviceTest, LeavesNoProcessNoDescriptorAndNoSharedMemory) {
  const size_t descriptors = OpenDescriptors();
  const size_t files = SharedFiles();
  for (int round = 0; round < 3; ++round) {
    const auto device = MakeTestWorkers(TestOptions(2));
    std::vector<Bound> loaded;
    for (int i = 0; i < 4; ++i) loaded.push_back(LoadOn(*device));
    for (Bound& bound : loaded) ExpectRight(*device, bound, 0);
    EXPECT_EQ(Children().size(), 2u);
  }
  EXPECT_TRUE(Children().empty());
  EXPECT_EQ(OpenDescriptors(), descriptors);
  EXPECT_EQ(SharedFiles(), files);
}

TEST_F(WorkerDeviceTest, GivesTheWorkersNoDescriptorsOfTheEngine) {
  std::ifstream open_without_flag(package_ / "Manifest.json");
  const auto device = MakeTestWorkers(TestOptions());
  std::set<std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(Children().at(0)) + "/fd")) {
    std::error_code error;
    files.insert(std::filesystem::read_symlink(entry.path(), error));
  }
  EXPECT_EQ(files.count(package_ / "Manifest.json"), 0u);
  EXPECT_LE(files.size(), 5u);
}

TEST_F(WorkerDeviceTest, RefusesOptionsThatCannotBe) {
  const auto refusal = [](const WorkerDeviceOptions& options) {
    const auto device = MakeWorkerDevice(emulator::TestProfile(), options);
    EXPECT_FALSE(device.ok());
    return device.ok() ? "" : device.status().message();
  };
  EXPECT_NE(refusal(TestOptions(0)).find("1 to 64"), std::string::npos);
  EXPECT_NE(refusal(TestOptions(1, "boom @ launch=1")).find("fault script"), std::string::npos);
  WorkerDeviceOptions options = TestOptions();
  options.program = "/no/such/program";
  EXPECT_NE(refusal(options).find("/no/such/program"), std::string::npos);
  options = TestOptions();
  options.device = "no-such-device";
  EXPECT_NE(refusal(options).find("no-such-device"), std::string::npos);
  options = TestOptions();
  options.program = "/bin/false";
  EXPECT_NE(refusal(options).find("exit code 1 3 times in a row"), std::string::npos)
      << refusal(options);
  EXPECT_TRUE(Children().empty());
}

}  // namespace
}  // namespace npumoe::worker
