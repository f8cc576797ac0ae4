#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/expert/expert.h"
#include "kernels/testing/kernel_bench.h"

namespace npumoe {
namespace {

constexpr int64_t kHidden = 2048, kInner = 768;  // Qwen3-30B-A3B

struct Sizes {
  int64_t hidden = kHidden;
  int64_t inner = kInner;
  DType dtype = DType::kBF16;
};

struct Layer {
  Layer(int64_t experts, int64_t rows, const Sizes& sizes = {})
      : in(experts * rows, sizes.hidden), out(experts * rows, sizes.hidden) {
    const int64_t hidden = sizes.hidden;
    const int64_t inner = sizes.inner;
    for (int64_t e = 0; e < experts; ++e) {
      for (const auto& [n, k] : {std::pair{inner, hidden}, {inner, hidden}, {hidden, inner}}) {
        weights.push_back(std::make_unique<bench::Weights>(sizes.dtype, n, k));
      }
      const size_t first = weights.size() - 3;
      tasks.push_back({{weights[first]->view, weights[first + 1]->view, weights[first + 2]->view},
                       {in.matrix.Row(e * rows), rows, hidden, hidden},
                       {out.matrix.Row(e * rows), rows, hidden, hidden}});
    }
  }
  bench::Floats in, out;
  std::vector<std::unique_ptr<bench::Weights>> weights;
  std::vector<ExpertTask> tasks;
};

// A chunk: 64 experts with `rows` tokens each.
void Prefill(benchmark::State& state) {
  const int64_t rows = state.range(0);
  constexpr int64_t kExperts = 64;
  ThreadPool pool(static_cast<int>(state.range(1)));
  const Layer layer(kExperts, rows);
  bench::FlopShare share(state, pool);
  for (auto _ : state) RunExperts(layer.tasks, pool);
  share.Report(6.0 * static_cast<double>(kExperts * rows * kHidden * kInner));
}
BENCHMARK(Prefill)
    ->ArgsProduct({{8, 32, 33, 128}, {1, 2}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->MinTime(0.3);

// Eight experts of gpt-oss with 32 tokens each: MXFP4, biases, the clamped activation.
void PrefillClamped(benchmark::State& state) {
  constexpr int64_t kExperts = 8, kRows = 32, kSize = 2880;
  ThreadPool pool(static_cast<int>(state.range(0)));
  Layer layer(kExperts, kRows, {kSize, kSize, DType::kMXFP4});
  const bench::Floats bias(1, kSize);
  for (ExpertTask& task : layer.tasks) {
    task.weights.gate_bias = task.weights.up_bias = task.weights.down_bias = bias.buffer.span();
    task.weights.clamp_limit = 7;
  }
  bench::FlopShare share(state, pool);
  for (auto _ : state) RunExperts(layer.tasks, pool);
  share.Report(6.0 * static_cast<double>(kExperts * kRows * kSize * kSize));
}
BENCHMARK(PrefillClamped)
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->MinTime(0.3);

// One token: 8 experts out of 64, others each time.
void Decode(benchmark::State& state) {
  constexpr size_t kExperts = 64, kChosen = 8;
  ThreadPool pool(static_cast<int>(state.range(0)));
  const Layer layer(kExperts, 1);
  bench::ByteShare share(state, pool);
  size_t next = 0;
  for (auto _ : state) {
    RunExperts(std::span(layer.tasks).subspan(next, kChosen), pool);
    next = (next + kChosen) % kExperts;
  }
  share.Report(2.0 * 3 * kChosen * static_cast<double>(kHidden * kInner));
}
BENCHMARK(Decode)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond)->MinTime(0.3);

}  // namespace
}  // namespace npumoe
