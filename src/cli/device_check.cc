#include "cli/device_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>

#include "base/clock.h"
#include "base/dtype.h"
#include "base/temporary_folder.h"
#include "cli/devices.h"
#include "graph/expert_program.h"
#include "graph/mlpackage.h"
#include "npu/device_registry.h"
#include "runtime/row_error.h"
#include "runtime/verify.h"

namespace npumoe::cli {
namespace {

constexpr int64_t kHidden = 1024;
constexpr int64_t kIntermediate = 2048;  // 6.3 M weights: engines take 5 M (ane-facts, section 2)
constexpr int64_t kRows = 32;
constexpr double kLaunchLimitMs = 60e3;

using Halves = std::vector<uint16_t>;

Halves RandomHalves(int64_t count, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  Halves values(static_cast<size_t>(count));
  for (uint16_t& value : values) {
    // 2^-31 maps 32 random bits to [-1, 1).
    value = F16FromF32((static_cast<float>(random()) * 0x1p-31f - 1.0f) * scale);
  }
  return values;
}

WeightMatrix Matrix(const Halves& values) {
  WeightMatrix matrix;
  matrix.values.produce = [&values](std::span<std::byte> bytes) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return OkStatus();
  };
  return matrix;
}

struct Expert {
  Halves gate = RandomHalves(kIntermediate * kHidden, 1, 1.0f / 32);  // 1 / sqrt(1024)
  Halves up = RandomHalves(kIntermediate * kHidden, 2, 1.0f / 32);
  Halves down = RandomHalves(kHidden * kIntermediate, 3, 1.0f / 45);  // 1 / sqrt(2048)
  Halves x = RandomHalves(kHidden * kRows, 4, 1.0f);                  // [H, rows]
};

Status WritePackage(const Expert& expert, const std::filesystem::path& package) {
  const ExpertSlot slot = {.expert = 0,
                           .capacity = kRows,
                           .gate = Matrix(expert.gate),
                           .up = Matrix(expert.up),
                           .down = Matrix(expert.down)};
  NPUMOE_ASSIGN_OR_RETURN(
      const Graph graph,
      BuildExpertGraph(GraphForm::kDenseChains, {kHidden, kIntermediate}, std::span(&slot, 1)));
  return WriteMlpackage(package, std::span(&graph, 1), {"self-test", {}});
}

// y [out, rows] = w [out, in] * x [in, rows]
std::vector<float> Product(const Halves& w, const std::vector<float>& x, int64_t out, int64_t in) {
  std::vector<float> y(static_cast<size_t>(out * kRows), 0.0f);
  for (int64_t o = 0; o < out; ++o) {
    float* sums = &y[static_cast<size_t>(o * kRows)];
    for (int64_t i = 0; i < in; ++i) {
      const float weight = F32FromF16(w[static_cast<size_t>(o * in + i)]);
      const float* row = &x[static_cast<size_t>(i * kRows)];
      for (int64_t r = 0; r < kRows; ++r) sums[r] += weight * row[r];
    }
  }
  return y;
}

std::vector<float> Reference(const Expert& expert) {
  std::vector<float> x;
  for (const uint16_t value : expert.x) x.push_back(F32FromF16(value));
  std::vector<float> inner = Product(expert.gate, x, kIntermediate, kHidden);
  const std::vector<float> up = Product(expert.up, x, kIntermediate, kHidden);
  for (size_t i = 0; i < inner.size(); ++i) inner[i] *= up[i] / (1.0f + std::exp(-inner[i]));
  return Product(expert.down, inner, kHidden, kIntermediate);
}

Status LaunchAndCompare(Device& device, std::unique_ptr<Program>& program, const Expert& expert,
                        double limit_ms, SelfTest& test) {
  if (program->inputs().size() != 1 || program->outputs().size() != 1) {
    return InvalidInput("the loaded program has other inputs and outputs than the package");
  }
  const TensorSpec in = program->inputs()[0], out = program->outputs()[0];
  for (const TensorSpec& spec : {in, out}) {
    if (spec.bytes() != BytesOf(DType::kF16, kHidden * kRows) || spec.dtype != DType::kF16) {
      return InvalidInput("the loaded program has other shapes or types than the package");
    }
  }
  const TensorView x = {in.dtype, in.shape, reinterpret_cast<const std::byte*>(expert.x.data())};
  NPUMOE_ASSIGN_OR_RETURN(ProgramRun run,
                          RunLoadedProgram(program, device, {{in.name, x}}, limit_ms));
  // The first launch may have to wake somebody up.
  NPUMOE_ASSIGN_OR_RETURN(run, RunLoadedProgram(program, device, {{in.name, x}}, limit_ms));
  test.launch = run.report;
  RowError error;
  error.Add({run.outputs.at(out.name).bytes.data(), 1, OutputRow::Layout::kF16Row},
            Reference(expert));
  test.error = error.Relative();
  if (*test.error <= kSelfTestTolerance) return OkStatus();
  return {StatusCode::kNumeric,
          fmt::format("wrong: off by {:.2g} of the largest output; {:.2g} is allowed", *test.error,
                      kSelfTestTolerance)};
}

Result<std::unique_ptr<Device>> OpenDevice(const ChipProfile& profile, ThreadPool& pool,
                                           const std::string& faults, SelfTest& test) {
  DeviceOptions options;
  options.faults = faults;
  if (test.device != "emulator") {
    options.workers = 1;
    auto isolated = MakeDevice(test.device, profile, pool, options);
    test.is_isolated = isolated.ok();
    if (isolated.ok()) return isolated;
    options.workers = 0;
  }
  return MakeDevice(test.device, profile, pool, options);
}

Status LoadAndTest(Device& device, double limit_ms, SelfTest& test) {
  NPUMOE_ASSIGN_OR_RETURN(const TemporaryFolder folder,
                          TemporaryFolder::Create("npumoe-self-test"));
  const Expert expert;
  const std::filesystem::path package = folder.path() / "self-test.mlpackage";
  NPUMOE_RETURN_IF_ERROR(WritePackage(expert, package));
  test.info = device.info();
  Stopwatch watch;
  NPUMOE_ASSIGN_OR_RETURN(auto program, device.Load(package, "main"));
  test.load_ms = watch.ElapsedMs();
  test.plan = program->compute_plan();
  return LaunchAndCompare(device, program, expert, limit_ms, test);
}

}  // namespace

std::vector<std::string> TestableDevices() {
  const std::vector<DeviceListing> all = ListDevices();
  std::vector<std::string> names;
  for (const DeviceListing& listing : all) {
    const bool has_targets = std::ranges::any_of(all, [&](const DeviceListing& other) {
      return other.name.starts_with(listing.name + ":");
    });
    if (listing.available && !has_targets) names.push_back(listing.name);
  }
  return names;
}

void TestOpenDevice(Device& device, double limit_ms, SelfTest& test) {
  test.status = LoadAndTest(device, limit_ms, test);
}

SelfTest TestDevice(const std::string& name, const ChipProfile& profile, ThreadPool& pool,
                    const std::string& faults) {
  SelfTest test;
  test.device = name;
  const auto device = OpenDevice(profile, pool, faults, test);
  test.status = device.status();
  if (device.ok()) TestOpenDevice(**device, kLaunchLimitMs, test);
  return test;
}

}  // namespace npumoe::cli
