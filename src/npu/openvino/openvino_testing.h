// For the tests of the OpenVINO device: the device where it is there, graphs run on it, and the
// same graphs on the emulator.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "npu/emulator/emulator_testing.h"
#include "npu/openvino/openvino_device.h"

namespace npumoe::openvino {

using emulator::Bound;
using emulator::kLongMs;
using emulator::LoadFloats;
using emulator::RandomValues;
using emulator::StoreFloats;
using emulator::TestProfile;
using emulator::WritePackage;
using npumoe::testing::ScratchFolder;
using Floats = std::vector<float>;

#ifndef NPUMOE_OPENVINO_NOT_BUILT
// A test program does not lie where the module does. Before main: the first test that lists devices
// loads the module, or finds it missing.
inline const bool kModuleIsNamed =
    setenv("NPUMOE_OPENVINO_LIBRARY", NPUMOE_OPENVINO_MODULE, /*overwrite=*/0) == 0;
#endif

// Why there is no target CPU here; empty: there is one.
inline std::string MissingCpuTarget() {
#ifdef NPUMOE_OPENVINO_NOT_BUILT
  return NPUMOE_OPENVINO_NOT_BUILT;
#else
  std::string note;
  for (const DeviceListing& listing : OpenvinoListings()) {
    if (listing.name == "openvino:CPU" && listing.available) return "";
    note = listing.note;
  }
  return note;
#endif
}

// Skips without the target; in continuous integration that is a failure, except with
// sanitizers, for which the module is not built: OpenVINO loads libraries in a way (RTLD_DEEPBIND)
// that they refuse.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kMayBeMissing = true;
#else
inline constexpr bool kMayBeMissing = false;
#endif
class OpenvinoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = MissingCpuTarget();
    if (missing.empty()) return;
    const char* ci = std::getenv("CI");
    const bool required = !kMayBeMissing && ci != nullptr && std::string(ci) == "true";
    if (required) FAIL() << "openvino:CPU is missing: " << missing;
    GTEST_SKIP() << "openvino:CPU is missing: " << missing;
  }
};

inline std::unique_ptr<Device> OpenCpu(ThreadPool& pool,
                                       const std::filesystem::path& cache_dir = {}) {
  DeviceOptions options;
  options.cache_dir = cache_dir;
  auto device = MakeDevice("openvino:CPU", TestProfile(), pool, options);
  EXPECT_TRUE(device.ok()) << device.status().message();
  return device.ok() ? *std::move(device) : nullptr;
}

// Loads and runs a graph; the outputs as floats.
inline std::vector<Floats> RunOn(Device& device, const Graph& graph,
                                 const std::vector<Floats>& inputs) {
  const ScratchFolder folder;
  auto loaded = device.Load(WritePackage(folder, {graph}), graph.name);
  EXPECT_TRUE(loaded.ok()) << loaded.status().message();
  if (!loaded.ok()) return {};
  Bound bound(*std::move(loaded));
  for (size_t i = 0; i < inputs.size(); ++i) {
    StoreFloats(bound.program->inputs()[i], inputs[i], bound.inputs[i]->bytes());
  }
  const auto request = bound.Submit(device);
  EXPECT_TRUE(request.ok()) << request.status().message();
  if (!request.ok()) return {};
  const auto report = device.Wait(*request, kLongMs);
  EXPECT_TRUE(report.ok()) << report.status().message();
  std::vector<Floats> outputs;
  for (size_t i = 0; i < bound.outputs.size(); ++i) {
    outputs.push_back(LoadFloats(bound.program->outputs()[i], bound.outputs[i]->bytes()));
  }
  return outputs;
}

inline std::vector<Floats> RandomInputs(const Graph& graph, uint32_t seed, float scale = 1) {
  std::vector<Floats> inputs;
  for (const TensorSpec& spec : graph.inputs) {
    inputs.push_back(RandomValues(spec.shape.elements(), seed++, scale));
  }
  return inputs;
}

// Every value within `tolerance` of the largest magnitude of its output.
inline void ExpectClose(const std::vector<Floats>& actual, const std::vector<Floats>& expected,
                        float tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t o = 0; o < actual.size(); ++o) {
    ASSERT_EQ(actual[o].size(), expected[o].size()) << o;
    float largest = 0;
    for (const float value : expected[o]) largest = std::max(largest, std::abs(value));
    ASSERT_GT(largest, 0.01f) << o;
    for (size_t i = 0; i < actual[o].size(); ++i) {
      ASSERT_NEAR(actual[o][i], expected[o][i], tolerance * largest) << o << " " << i;
    }
  }
}

}  // namespace npumoe::openvino
