// What one parallel region costs before any work is done: a decoded token has about fifty.
#include <benchmark/benchmark.h>

#include <chrono>

#include "base/thread_pool.h"

namespace npumoe {
namespace {

void WorkFor(std::chrono::microseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

// Regions of empty bodies, one right after the other: workers are spinning.
void BM_EmptyRegion(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    pool.ParallelFor(pool.threads(), [](int64_t index, int) { benchmark::DoNotOptimize(index); });
  }
}
BENCHMARK(BM_EmptyRegion)->Arg(1)->Arg(2)->UseRealTime();

// The same work of 100 us in two halves; the ideal on two threads is 50 us.
void BM_RegionOfTwoHalves(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    pool.ParallelFor(2, [](int64_t, int) { WorkFor(std::chrono::microseconds(50)); });
  }
}
BENCHMARK(BM_RegionOfTwoHalves)->Arg(1)->Arg(2)->UseRealTime();

// A region after serial work that outlasts the workers' spinning: they must be woken.
void BM_RegionOfTwoHalvesAfterSleep(benchmark::State& state) {
  ThreadPool pool(2);
  for (auto _ : state) {
    state.PauseTiming();
    WorkFor(std::chrono::microseconds(500));
    state.ResumeTiming();
    pool.ParallelFor(2, [](int64_t, int) { WorkFor(std::chrono::microseconds(50)); });
  }
}
BENCHMARK(BM_RegionOfTwoHalvesAfterSleep)->UseRealTime();

}  // namespace
}  // namespace npumoe
