// For the tests of workers: a device over the test's worker program, and what the system says
// about processes, descriptors and shared memory.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "npu/emulator/emulator_testing.h"
#include "npu/worker/worker_device.h"

namespace npumoe::worker {

using emulator::Bound;
using emulator::kLongMs;

inline WorkerDeviceOptions TestOptions(int workers = 1, const std::string& faults = "") {
  WorkerDeviceOptions options;
  options.device = "emulator";
  options.start = LaunchStart::kOnSubmit;
  options.workers = workers;
  options.program = NPUMOE_WORKER_HOST;
  options.faults = faults;
  options.launch_deadline_ms = 60e3;
  return options;
}

inline std::unique_ptr<Device> MakeTestWorkers(
    const WorkerDeviceOptions& options, const ChipProfile& profile = emulator::TestProfile()) {
  auto device = MakeWorkerDevice(profile, options);
  EXPECT_TRUE(device.ok()) << device.status().message();
  NPUMOE_CHECK(device.ok());
  return *std::move(device);
}

// A profile whose text says something else, so that workers see it, too.
inline ChipProfile ProfileWith(const std::string& from, const std::string& to) {
  std::string text = emulator::TestProfile().toml;
  const size_t at = text.find(from);
  NPUMOE_CHECK(at != std::string::npos);
  return *ParseChipProfile(text.replace(at, from.size(), to), "m2-max");
}

// Children of this process, the dead that nobody collected included.
inline std::vector<pid_t> Children() {
  std::vector<pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::string stat;
    std::getline(std::ifstream(entry.path() / "stat"), stat);
    const size_t behind_name = stat.rfind(')');
    if (behind_name == std::string::npos) continue;
    const size_t at = behind_name + 4;  // ") S 123 "
    if (std::stoi(stat.substr(at)) == getpid()) children.push_back(std::stoi(name));
  }
  return children;
}

inline size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

inline size_t SharedFiles() {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    // Other tests keep scratch folders there.
    count += entry.path().filename().string().starts_with("npumoe-graph-") ? 0 : 1;
  }
  return count;
}

// An expert program, its package, and what it answers in this process.
class WorkerTest : public ::testing::Test {
 protected:
  static constexpr int64_t kHidden = 32, kIntermediate = 16, kRows = 48;

  void SetUp() override {
    package_ = emulator::WritePackage(
        folder_,
        {npumoe::testing::ExpertGraph(GraphForm::kDenseChains, {kHidden, kIntermediate}, {kRows})});
    const auto device = emulator::MakeTestDevice(pool_);
    Bound bound = LoadOn(*device);
    for (uint32_t seed = 0; seed < kSeeds; ++seed) {
      Fill(bound, seed);
      const auto report = device->Wait(*bound.Submit(*device), kLongMs);
      ASSERT_TRUE(report.ok());
      expected_report_ = *report;
      expected_.push_back(OutputOf(bound));
    }
  }
  Bound LoadOn(Device& device) {
    auto program = device.Load(package_, "main");
    EXPECT_TRUE(program.ok()) << program.status().message();
    return Bound(*std::move(program));
  }
  static void Fill(Bound& bound, uint32_t seed) {
    const TensorSpec& spec = bound.program->inputs()[0];
    emulator::StoreFloats(spec, emulator::RandomValues(spec.shape.elements(), seed),
                          bound.inputs[0]->bytes());
  }
  static std::vector<float> OutputOf(Bound& bound) {
    return emulator::LoadFloats(bound.program->outputs()[0], bound.outputs[0]->bytes());
  }
  // A launch with the seed's input gives its output.
  void ExpectRight(Device& device, Bound& bound, uint32_t seed) {
    Fill(bound, seed);
    const auto request = bound.Submit(device);
    ASSERT_TRUE(request.ok()) << request.status().message();
    const auto report = device.Wait(*request, kLongMs);
    ASSERT_TRUE(report.ok()) << report.status().message();
    EXPECT_EQ(OutputOf(bound), expected_[seed]);
    EXPECT_EQ(report->time_ms, expected_report_.time_ms);
  }

  static constexpr uint32_t kSeeds = 3;
  npumoe::testing::ScratchFolder folder_;
  ThreadPool pool_{1};
  std::filesystem::path package_;
  std::vector<std::vector<float>> expected_;
  LaunchReport expected_report_;
};

}  // namespace npumoe::worker
