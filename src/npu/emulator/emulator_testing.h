// For the tests of the emulator: graphs written to packages, loaded and run.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "graph/mlpackage.h"
#include "graph/testing/sample_graphs.h"
#include "npu/device.h"
#include "npu/emulator/emulator.h"
#include "npu/emulator/executable.h"

namespace npumoe::emulator {

inline constexpr double kLongMs = 120e3;  // far above any run, even under a sanitizer

inline ChipProfile TestProfile() {
  Result<ChipProfile> profile = LoadChipProfile("m2-max", {NPUMOE_SOURCE_DIR "/chips"});
  NPUMOE_CHECK(profile.ok());
  return *std::move(profile);
}

inline std::unique_ptr<Device> MakeTestDevice(ThreadPool& pool,
                                              const ChipProfile& profile = TestProfile(),
                                              EmulatorStart start = EmulatorStart::kOnSubmit) {
  Result<std::unique_ptr<Device>> device = MakeEmulator(profile, pool, {.start = start});
  NPUMOE_CHECK(device.ok());
  return *std::move(device);
}

inline std::filesystem::path WritePackage(const testing::ScratchFolder& folder,
                                          const std::vector<Graph>& functions,
                                          const std::string& name = "p.mlpackage") {
  const Status status = WriteMlpackage(folder / name, functions, {});
  EXPECT_TRUE(status.ok()) << status.message();
  return folder / name;
}

// Every float of `values` as its spec stores it.
inline void StoreFloats(const TensorSpec& spec, const std::vector<float>& values,
                        std::span<std::byte> bytes) {
  NPUMOE_CHECK(static_cast<int64_t>(values.size()) == spec.shape.elements());
  for (size_t i = 0; i < values.size(); ++i) {
    if (spec.dtype == DType::kF16) {
      const uint16_t bits = F16FromF32(values[i]);
      std::memcpy(bytes.data() + 2 * i, &bits, 2);
    } else {
      std::memcpy(bytes.data() + 4 * i, &values[i], 4);
    }
  }
}

inline std::vector<float> LoadFloats(const TensorSpec& spec, std::span<const std::byte> bytes) {
  std::vector<float> values(static_cast<size_t>(spec.shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    if (spec.dtype == DType::kF16) {
      uint16_t bits;
      std::memcpy(&bits, bytes.data() + 2 * i, 2);
      values[i] = F32FromF16(bits);
    } else {
      std::memcpy(&values[i], bytes.data() + 4 * i, 4);
    }
  }
  return values;
}

// fp16 values in [-scale, scale).
inline std::vector<float> RandomValues(int64_t count, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = F32FromF16(F16FromF32((static_cast<float>(random()) * 0x1p-31f - 1.0f) * scale));
  }
  return values;
}

// A program with its buffers.
struct Bound {
  std::unique_ptr<Program> program;
  std::vector<std::unique_ptr<DeviceBuffer>> inputs, outputs;

  explicit Bound(std::unique_ptr<Program> loaded) : program(std::move(loaded)) {
    for (const TensorSpec& s : program->inputs()) inputs.push_back(*program->Allocate(s));
    for (const TensorSpec& s : program->outputs()) outputs.push_back(*program->Allocate(s));
  }
  Result<RequestId> Submit(Device& device, std::vector<int> rows = {}) {
    const std::vector<DeviceBuffer*> in = Pointers(inputs);
    const std::vector<DeviceBuffer*> out = Pointers(outputs);
    return device.Submit({.program = program.get(), .inputs = in, .outputs = out, .rows = rows});
  }
  static std::vector<DeviceBuffer*> Pointers(
      const std::vector<std::unique_ptr<DeviceBuffer>>& buffers) {
    std::vector<DeviceBuffer*> pointers;
    for (const auto& buffer : buffers) pointers.push_back(buffer.get());
    return pointers;
  }
};

// Writes, loads and runs a graph; the outputs as floats.
inline std::vector<std::vector<float>> RunGraph(const Graph& graph,
                                                const std::vector<std::vector<float>>& inputs,
                                                int threads = 2) {
  const testing::ScratchFolder folder;
  ThreadPool pool(threads);
  const std::unique_ptr<Device> device = MakeTestDevice(pool);
  auto loaded = device->Load(WritePackage(folder, {graph}), graph.name);
  EXPECT_TRUE(loaded.ok()) << loaded.status().message();
  if (!loaded.ok()) return {};
  Bound bound(*std::move(loaded));
  for (size_t i = 0; i < inputs.size(); ++i) {
    StoreFloats(bound.program->inputs()[i], inputs[i], bound.inputs[i]->bytes());
  }
  const auto report = device->Wait(*bound.Submit(*device), kLongMs);
  EXPECT_TRUE(report.ok()) << report.status().message();
  std::vector<std::vector<float>> outputs;
  for (size_t i = 0; i < bound.outputs.size(); ++i) {
    outputs.push_back(LoadFloats(bound.program->outputs()[i], bound.outputs[i]->bytes()));
  }
  return outputs;
}

// The same without a device, so that graphs which no chip takes (fp32 activations) run too.
inline Result<std::vector<std::vector<float>>> RunUnlimited(
    const Graph& graph, const std::vector<std::vector<float>>& inputs) {
  const testing::ScratchFolder folder;
  NPUMOE_ASSIGN_OR_RETURN(const Mlpackage package, ReadMlpackage(WritePackage(folder, {graph})));
  NPUMOE_ASSIGN_OR_RETURN(const auto executable,
                          Executable::Build(package.functions.front(), package.storage));
  const auto bytes_of = [](const auto& specs, auto& memory) {
    for (const TensorSpec& spec : specs) memory.emplace_back(spec.bytes());
  };
  std::vector<std::vector<std::byte>> in, out;
  bytes_of(executable->inputs(), in);
  bytes_of(executable->outputs(), out);
  for (size_t i = 0; i < inputs.size(); ++i) {
    StoreFloats(executable->inputs()[i], inputs[i], in[i]);
  }
  ThreadPool pool(2);
  AlignedBuffer<float> workspace;
  const std::vector<std::span<const std::byte>> in_spans(in.begin(), in.end());
  const std::vector<std::span<std::byte>> out_spans(out.begin(), out.end());
  NPUMOE_RETURN_IF_ERROR(executable->Run(in_spans, out_spans, workspace, pool));
  std::vector<std::vector<float>> results;
  for (size_t i = 0; i < out.size(); ++i) {
    results.push_back(LoadFloats(executable->outputs()[i], out[i]));
  }
  return results;
}

// The fp16 weights that a WeightData makes.
inline std::vector<float> WeightFloats(const WeightData& weight, int64_t count) {
  std::vector<std::byte> bytes(static_cast<size_t>(2 * count));
  NPUMOE_CHECK(weight.produce(bytes).ok());
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + 2 * i, 2);
    values[i] = F32FromF16(bits);
  }
  return values;
}

inline float RoundF16(double value) { return F32FromF16(F16FromF32(static_cast<float>(value))); }

}  // namespace npumoe::emulator
