#include <algorithm>

#include "kernels/peak/peak.h"
#include "kernels/testing/kernel_bench.h"

namespace npumoe {
namespace {

void FmaPeak(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  double best = 0;
  for (auto _ : state) best = std::max(best, MeasureFmaPeak(pool));
  state.counters["GFLOP/s"] = best;
}
BENCHMARK(FmaPeak)->Arg(1)->Arg(2)->UseRealTime()->Iterations(3)->Unit(benchmark::kMillisecond);

void ReadBandwidth(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  double best = 0;
  for (auto _ : state) best = std::max(best, MeasureReadBandwidth(pool));
  state.counters["GB/s"] = best;
}
BENCHMARK(ReadBandwidth)
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace npumoe
