#include <cmath>

#include "kernels/attention/attention.h"
#include "kernels/testing/kernel_bench.h"

namespace npumoe {
namespace {

constexpr int kHeads = 32, kKvHeads = 4, kHeadDim = 128;  // Qwen3-30B-A3B

struct Layer {
  Layer(int64_t tokens, int64_t position)
      : queries(tokens, kHeads * kHeadDim),
        keys(position + tokens, kKvHeads * kHeadDim),
        values(position + tokens, kKvHeads * kHeadDim),
        out(tokens, kHeads * kHeadDim),
        args{kHeads,    kKvHeads,       kHeadDim,    1.0f / std::sqrt(128.0f),
             position,  queries.matrix, keys.matrix, values.matrix,
             out.matrix} {}
  bench::Floats queries, keys, values, out;
  AttentionArgs args;
};

// Arguments: tokens, position, threads.
void Prefill(benchmark::State& state) {
  const int64_t tokens = state.range(0), position = state.range(1);
  ThreadPool pool(static_cast<int>(state.range(2)));
  const Layer layer(tokens, position);
  bench::FlopShare share(state, pool);
  for (auto _ : state) Attention(layer.args, pool);
  const double pairs = static_cast<double>(tokens) *
                       (static_cast<double>(position) + static_cast<double>(tokens + 1) / 2);
  share.Report(4.0 * pairs * kHeads * kHeadDim);
}
BENCHMARK(Prefill)
    ->ArgsProduct({{512}, {0, 3584}, {1, 2}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->MinTime(0.2);

// Arguments: position, threads.
void Decode(benchmark::State& state) {
  const int64_t position = state.range(0);
  ThreadPool pool(static_cast<int>(state.range(1)));
  const Layer layer(1, position);
  bench::ByteShare share(state, pool);
  for (auto _ : state) Attention(layer.args, pool);
  share.Report(2.0 * sizeof(float) * static_cast<double>((position + 1) * kKvHeads * kHeadDim));
}
BENCHMARK(Decode)
    ->ArgsProduct({{511, 16383}, {1, 2}})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond)
    ->MinTime(0.2);

}  // namespace
}  // namespace npumoe
