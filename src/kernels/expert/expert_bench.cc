#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/expert/expert.h"
#include "kernels/testing/kernel_bench.h"

namespace npumoe {
namespace {

constexpr int64_t kHidden = 2048, kInner = 768;  // Qwen3-30B-A3B

struct Layer {
  Layer(int64_t experts, int64_t rows) : in(experts * rows, kHidden), out(experts * rows, kHidden) {
    for (int64_t e = 0; e < experts; ++e) {
      for (const auto& [n, k] :
           {std::pair{kInner, kHidden}, {kInner, kHidden}, {kHidden, kInner}}) {
        weights.push_back(std::make_unique<bench::Weights>(DType::kBF16, n, k));
      }
      const size_t first = weights.size() - 3;
      tasks.push_back({{weights[first]->view, weights[first + 1]->view, weights[first + 2]->view},
                       {in.matrix.Row(e * rows), rows, kHidden, kHidden},
                       {out.matrix.Row(e * rows), rows, kHidden, kHidden}});
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
