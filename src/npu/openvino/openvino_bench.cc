// What target CPU takes for expert programs of Qwen3-30B-A3B's shape: a launch of each form, and a
// load with and without the cache. One thread, so that it compares with one core of our kernels:
//   taskset -c 1 npu_bench --benchmark_filter=Openvino
#include <benchmark/benchmark.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "graph/mlpackage.h"
#include "graph/testing/sample_graphs.h"
#include "npu/device_registry.h"

namespace npumoe {
namespace {

using testing::ExpertGraph;
using testing::ScratchFolder;

constexpr testing::ExpertSizes kSizes{2048, 768};
constexpr int kExperts = 4;

struct OneThread {
  ThreadPool pool{1};
  std::unique_ptr<Device> device;
  std::string missing;

  explicit OneThread(const std::filesystem::path& cache_dir = {}) {
    ChipProfile profile;
    profile.limits.max_requests_in_flight = 4;
    DeviceOptions options;
    options.cache_dir = cache_dir;
    auto made = MakeDevice("openvino:CPU", profile, pool, options);
    if (made.ok()) {
      device = *std::move(made);
    } else {
      missing = made.status().message();
    }
  }
};

// Form, rows of each expert.
void OpenvinoLaunch(benchmark::State& state) {
  OneThread one;
  if (one.device == nullptr) return state.SkipWithError(one.missing.c_str());
  const auto form = static_cast<GraphForm>(state.range(0));
  const ScratchFolder folder;
  const std::filesystem::path package = folder / "p.mlpackage";
  const Graph graph = ExpertGraph(form, kSizes, std::vector<int64_t>(kExperts, state.range(1)));
  NPUMOE_CHECK(WriteMlpackage(package, {&graph, 1}, {}).ok());
  const auto program = *one.device->Load(package, "main");
  std::vector<std::unique_ptr<DeviceBuffer>> buffers;
  std::vector<DeviceBuffer*> inputs, outputs;
  const auto allocate = [&](const auto& specs, auto& pointers) {
    for (const TensorSpec& spec : specs) {
      buffers.push_back(*program->Allocate(spec));
      pointers.push_back(buffers.back().get());
    }
  };
  allocate(program->inputs(), inputs);
  allocate(program->outputs(), outputs);
  for (auto _ : state) {
    const auto id = one.device->Submit({program.get(), inputs, outputs, {}});
    const auto report = one.device->Wait(*id, 60e3);
    if (!report.ok()) return state.SkipWithError(report.status().message().c_str());
    state.SetIterationTime(report->time_ms / 1e3);
  }
  const double flops = 2.0 * static_cast<double>(3 * kSizes.hidden * kSizes.intermediate) *
                       static_cast<double>(kExperts * state.range(1));
  state.counters["GFLOP/s"] = benchmark::Counter(
      flops * 1e-9 * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK(OpenvinoLaunch)
    ->ArgsProduct({{0, 1, 2}, {16, 64, 256}})
    ->ArgNames({"form", "rows"})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

// Whether the program is in the cache.
void OpenvinoLoad(benchmark::State& state) {
  const ScratchFolder folder;
  const std::filesystem::path package = folder / "p.mlpackage";
  const Graph graph =
      ExpertGraph(GraphForm::kDenseChains, kSizes, std::vector<int64_t>(kExperts, 64));
  NPUMOE_CHECK(WriteMlpackage(package, {&graph, 1}, {}).ok());
  const bool cached = state.range(0) != 0;
  OneThread one(cached ? folder / "cache" : std::filesystem::path());
  if (one.device == nullptr) return state.SkipWithError(one.missing.c_str());
  if (cached) NPUMOE_CHECK(one.device->Load(package, "main").ok());
  for (auto _ : state) benchmark::DoNotOptimize(one.device->Load(package, "main"));
}
BENCHMARK(OpenvinoLoad)->ArgName("cached")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace npumoe
