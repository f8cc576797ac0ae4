// For the tests of the Core ML device: a double of Core ML, a clock, a package, a cache.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "npu/coreml/coreml_device.h"
#include "npu/coreml/testing/fake_bridge.h"
#include "npu/emulator/emulator_testing.h"

namespace npumoe::coreml_device {

inline constexpr double kLongMs = 120e3;  // far above any run, even under a sanitizer

class FakeClock final : public Clock {
 public:
  double NowMs() override { return now_ms_; }
  void Advance(double ms) { now_ms_ = now_ms_ + ms; }

 private:
  std::atomic<double> now_ms_{1e6};
};

class CoremlTest : public ::testing::Test {
 protected:
  CoremlTest() { options_.cache_dir = folder_ / "cache"; }
  // The last answer may have been given, but not returned from.
  ~CoremlTest() override {
    bridge_->Release();
    bridge_->WaitUntilIdle();
  }

  std::unique_ptr<Device> MakeDevice() {
    auto device = MakeCoremlDevice(profile_, options_,
                                   {bridge_, clock_, [this](double ms) { pauses_.push_back(ms); }});
    EXPECT_TRUE(device.ok()) << device.status().message();
    return *std::move(device);
  }
  // Form C of one expert, 8 rows of 32, as a package.
  std::filesystem::path Package(const std::string& name = "p.mlpackage") {
    return emulator::WritePackage(folder_, {ExpertFunction("main")}, name);
  }
  static Graph ExpertFunction(const std::string& name, int64_t rows = 8) {
    return testing::ExpertGraph(GraphForm::kDenseChains, {32, 48}, {rows}, name);
  }
  // The status of a load that is dropped again.
  Status LoadStatus(Device& device, const std::filesystem::path& package,
                    const std::string& function = "main") {
    return device.Load(package, function).status();
  }
  std::unique_ptr<Program> Loaded(Device& device, const std::filesystem::path& package,
                                  const std::string& function = "main") {
    auto program = device.Load(package, function);
    EXPECT_TRUE(program.ok()) << program.status().message();
    return program.ok() ? *std::move(program) : nullptr;
  }

  static std::vector<float> Input(const Program& program, uint32_t seed = 7) {
    return emulator::RandomValues(program.inputs()[0].shape.elements(), seed);
  }
  // One launch; its output or, as a failed expectation, nothing.
  static std::vector<float> Launch(Device& device, emulator::Bound& bound,
                                   const std::vector<float>& input) {
    emulator::StoreFloats(bound.program->inputs()[0], input, bound.inputs[0]->bytes());
    const auto request = bound.Submit(device);
    EXPECT_TRUE(request.ok()) << request.status().message();
    if (!request.ok()) return {};
    const auto report = device.Wait(*request, kLongMs);
    EXPECT_TRUE(report.ok()) << report.status().message();
    return emulator::LoadFloats(bound.program->outputs()[0], bound.outputs[0]->bytes());
  }
  // What the emulator answers for the same package.
  std::vector<float> Expected(const std::filesystem::path& package,
                              const std::vector<float>& input) {
    ThreadPool pool(1);
    const auto device = emulator::MakeTestDevice(pool, profile_);
    emulator::Bound bound(Loaded(*device, package));
    return Launch(*device, bound, input);
  }

  std::filesystem::path CacheRoot() const { return options_.cache_dir / "coreml"; }
  // The only entry of the cache.
  std::filesystem::path Entry() const {
    std::vector<std::filesystem::path> entries;
    for (const auto& item : std::filesystem::directory_iterator(CacheRoot())) {
      if (!item.path().filename().string().starts_with('.')) entries.push_back(item.path());
    }
    EXPECT_EQ(entries.size(), 1u);
    return entries.empty() ? std::filesystem::path() : entries.front();
  }

  const testing::ScratchFolder folder_;
  ChipProfile profile_ = emulator::TestProfile();
  CoremlOptions options_;
  std::vector<double> pauses_;
  std::shared_ptr<FakeClock> clock_ = std::make_shared<FakeClock>();
  std::shared_ptr<FakeBridge> bridge_ = std::make_shared<FakeBridge>();
};

}  // namespace npumoe::coreml_device
