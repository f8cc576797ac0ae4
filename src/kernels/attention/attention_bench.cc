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
        out(tokens, kHeads * kHeadDim) {
    args.num_heads = kHeads;
    args.num_kv_heads = kKvHeads;
    args.head_dim = kHeadDim;
    args.scale = 1.0f / std::sqrt(128.0f);
    args.position = position;
    args.queries = queries.matrix;
    args.keys = keys.matrix;
    args.values = values.matrix;
    args.out = out.matrix;
  }
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

// A window of 128 and sinks, as gpt-oss has in every other layer: 512 tokens far inside a context.
void PrefillWindow(benchmark::State& state) {
  constexpr int64_t kTokens = 512, kPosition = 3584, kWindow = 128;
  ThreadPool pool(static_cast<int>(state.range(0)));
  Layer layer(kTokens, kPosition);
  const bench::Floats sinks(1, kHeads);
  layer.args.window = kWindow;
  layer.args.sinks = sinks.buffer.span();
  bench::FlopShare share(state, pool);
  for (auto _ : state) Attention(layer.args, pool);
  share.Report(4.0 * kTokens * kWindow * kHeads * kHeadDim);
}
BENCHMARK(PrefillWindow)
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->MinTime(0.2);

// DeepSeek-V2-Lite: 16 heads over one row of 512 + 64 per position, whose first 512 are the value.
void DecodeLatent(benchmark::State& state) {
  constexpr int kLatentHeads = 16, kKey = 576, kValue = 512;
  const int64_t position = state.range(0);
  ThreadPool pool(static_cast<int>(state.range(1)));
  const bench::Floats queries(1, kLatentHeads * kKey);
  const bench::Floats keys(position + 1, kKey);
  bench::Floats out(1, kLatentHeads * kValue);
  AttentionArgs args;
  args.num_heads = kLatentHeads;
  args.num_kv_heads = 1;
  args.head_dim = kKey;
  args.value_dim = kValue;
  args.scale = 1.0f / std::sqrt(192.0f);
  args.position = position;
  args.queries = queries.matrix;
  args.keys = keys.matrix;
  args.values = {keys.matrix.data, position + 1, kValue, kKey};
  args.out = out.matrix;
  bench::FlopShare share(state, pool);
  for (auto _ : state) Attention(args, pool);
  share.Report(2.0 * static_cast<double>((position + 1) * kLatentHeads * (kKey + kValue)));
}
BENCHMARK(DecodeLatent)
    ->ArgsProduct({{511, 4095}, {1, 2}})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond)
    ->MinTime(0.2);

}  // namespace
}  // namespace npumoe
