// How fast synthetic models appear: bytes of weights a second, on one thread, memory included.
#include <benchmark/benchmark.h>

#include "model/synthetic.h"

namespace npumoe {
namespace {

void BM_MakeSyntheticModel(benchmark::State& state) {
  SyntheticOptions options{.config = Qwen3_30B_A3B_Config(1),
                           .dtype = static_cast<DType>(state.range(0))};
  options.config.vocab_size = 1024;
  options.config.moe.num_experts = 32;  // a quarter of the layer: 0.3 GB in 16 bits
  for (auto _ : state) {
    benchmark::DoNotOptimize(MakeSyntheticModel(options));
  }
  state.SetLabel(Name(options.dtype));
  state.SetBytesProcessed(state.iterations() * options.config.TotalParameters() *
                          static_cast<int64_t>(BytesPerElement(options.dtype)));
}
BENCHMARK(BM_MakeSyntheticModel)
    ->Arg(static_cast<int>(DType::kBF16))
    ->Arg(static_cast<int>(DType::kF16))
    ->Arg(static_cast<int>(DType::kF32))
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace npumoe
