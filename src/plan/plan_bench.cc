// Planning and simulating at full size: 48 layers of 128 experts (the shape of Qwen3-30B-A3B).
#include <benchmark/benchmark.h>

#include "plan/planning_test_data.h"
#include "plan/simulator.h"

namespace npumoe {
namespace {

const PlanInputs& FullSize() {
  static const PlanInputs& inputs = *new PlanInputs(
      testdata::MakeInputs(testdata::Qwen3A3b(48), testdata::Chip("m2-max"), {8192, 0.6, 8192, 7}));
  return inputs;
}

// All chunk lengths from 128 to 2048, all rival strategies, predictions and their spreads.
void BM_PlanOptimal(benchmark::State& state) {
  PlanOptions options;
  options.prompt_tokens = 4096;
  options.min_npu_share = static_cast<double>(state.range(0)) / 100;
  FullSize();
  for (auto _ : state) benchmark::DoNotOptimize(MakePlan(FullSize(), options));
}
BENCHMARK(BM_PlanOptimal)
    ->Arg(0)
    ->Arg(95)
    ->ArgName("min_npu_share_percent")
    ->Unit(benchmark::kMillisecond);

void BM_PlanByRule(benchmark::State& state) {
  PlanOptions options;
  options.prompt_tokens = 4096;
  options.strategy = Strategy::kPaper;
  FullSize();
  for (auto _ : state) benchmark::DoNotOptimize(MakePlan(FullSize(), options));
}
BENCHMARK(BM_PlanByRule)->Unit(benchmark::kMillisecond);

void BM_Simulate8192Tokens(benchmark::State& state) {
  PlanOptions options;
  options.prompt_tokens = 8192;
  options.chunk_candidates = {static_cast<int>(state.range(0))};
  const Plan plan = *MakePlan(FullSize(), options);
  const CostModel costs(FullSize().config, FullSize().profile, options.weight_bytes_cpu);
  const RoutingTrace trace = testdata::MakeTrace(FullSize().config, {8192, 0.6, 8192, 8});
  for (auto _ : state) benchmark::DoNotOptimize(Simulate(plan, costs, trace, 0));
}
BENCHMARK(BM_Simulate8192Tokens)
    ->Arg(128)
    ->Arg(1024)
    ->ArgName("chunk")
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace npumoe
