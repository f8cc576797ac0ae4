// Prefill and decode of a synthetic model in the layer shape of Qwen3-30B-A3B (4 layers, BF16,
// about 6 GB), next to the two rates of this machine that bound them: one large square product of
// the same type, and reading memory. Stages are shares of the MoE block.
//   runtime_bench --benchmark_min_time=5
#include <benchmark/benchmark.h>

#include <numeric>
#include <random>

#include "base/aligned_buffer.h"
#include "kernels/gemm/gemm.h"
#include "model/synthetic.h"
#include "runtime/session.h"

namespace npumoe {
namespace {

constexpr int kLayers = 4;
constexpr int64_t kPromptTokens = 512;
constexpr int64_t kSquare = 4096;
constexpr int kThreads = 2;

std::shared_ptr<const Model> SharedModel() {
  static const std::shared_ptr<const Model> model = [] {
    auto made = MakeSyntheticModel({.config = Qwen3_30B_A3B_Config(kLayers)});
    NPUMOE_CHECK(made.ok());
    return *made;
  }();
  return model;
}

std::vector<int32_t> RandomIds(int64_t count, int vocab_size) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int32_t> id(0, vocab_size - 1);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& value : ids) value = id(random);
  return ids;
}

// Arithmetic of the layers' products for one token, attention over the cache and head left out.
double LayerFlopsPerToken(const ModelConfig& config) {
  const AttentionConfig& attention = config.attention;
  const double projections = static_cast<double>(config.hidden_size) *
                             (2.0 * attention.query_size() + 2.0 * attention.kv_size());
  const double router = static_cast<double>(config.hidden_size) * config.moe.num_experts;
  const double experts = static_cast<double>(config.moe.experts_per_token) *
                         static_cast<double>(config.ExpertParameters());
  return 2 * config.num_layers * (projections + router + experts);
}

void BM_SquareProduct(benchmark::State& state) {
  ThreadPool pool(kThreads);
  AlignedBuffer<uint16_t> weights(kSquare * kSquare);
  AlignedBuffer<float> in(kSquare * kSquare);
  AlignedBuffer<float> out(kSquare * kSquare);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<uint16_t>(0x3c00 + i % 512);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i % 7) - 3;
  const TensorView weight{DType::kBF16, Shape{kSquare, kSquare},
                          reinterpret_cast<const std::byte*>(weights.data())};
  for (auto _ : state) {
    MatMul(ConstMatrix{in.data(), kSquare, kSquare, kSquare}, weight, {},
           {out.data(), kSquare, kSquare, kSquare}, pool);
    benchmark::DoNotOptimize(out.data());
  }
  state.counters["GFLOP/s"] = benchmark::Counter(2e-9 * kSquare * kSquare * kSquare,
                                                 benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_SquareProduct)->Unit(benchmark::kMillisecond)->UseRealTime();

void BM_Prefill512(benchmark::State& state) {
  const auto model = SharedModel();
  ThreadPool pool(kThreads);
  auto session = Session::Create(model, pool, {.context_tokens = 1024});
  NPUMOE_CHECK(session.ok());
  const std::vector<int32_t> ids = RandomIds(kPromptTokens, model->config.vocab_size);
  StageTimes stages;
  for (auto _ : state) {
    NPUMOE_CHECK((*session)->Rewind(0).ok());
    auto result = (*session)->Prefill(ids, LogitsWanted::kLastRow);
    NPUMOE_CHECK(result.ok());
    stages = result->stages;
  }
  state.counters["GFLOP/s"] =
      benchmark::Counter(1e-9 * kPromptTokens * LayerFlopsPerToken(model->config),
                         benchmark::Counter::kIsIterationInvariantRate);
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(kPromptTokens),
                                                  benchmark::Counter::kIsIterationInvariantRate);
  state.counters["attention_ms"] = stages.attention_ms;
  state.counters["moe_ms"] = stages.MoeBlockMs();
  state.counters["head_ms"] = stages.head_ms;
  state.counters["dispatch_share"] =
      (stages.router_ms + stages.gather_ms + stages.combine_ms) / stages.MoeBlockMs();
}
BENCHMARK(BM_Prefill512)->Unit(benchmark::kMillisecond)->UseRealTime();

void BM_MemoryRead(benchmark::State& state) {
  ThreadPool pool(kThreads);
  AlignedBuffer<uint64_t> memory(size_t{1} << 27);  // 1 GiB
  for (size_t i = 0; i < memory.size(); i += 512) memory[i] = i;
  std::vector<uint64_t> sums(kThreads * 16);
  for (auto _ : state) {
    pool.ParallelRanges(static_cast<int64_t>(memory.size()), 1 << 16,
                        [&](int64_t begin, int64_t end, int worker) {
                          uint64_t* const first = memory.data() + begin;
                          sums[static_cast<size_t>(worker) * 16] +=
                              std::accumulate(first, memory.data() + end, uint64_t{0});
                        });
    benchmark::DoNotOptimize(sums.data());
  }
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(memory.size()) * 8e-9,
                                              benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_MemoryRead)->Unit(benchmark::kMillisecond)->UseRealTime();

// Bytes of the weights that one token reads: attention, router, its experts, head.
double DecodeBytes(const ModelConfig& config) {
  return LayerFlopsPerToken(config) +
         2.0 * static_cast<double>(config.vocab_size) * config.hidden_size;
}

void BM_Decode(benchmark::State& state) {
  const auto model = SharedModel();
  ThreadPool pool(kThreads);
  auto session = Session::Create(model, pool, {.context_tokens = 4096});
  NPUMOE_CHECK(session.ok());
  const std::vector<int32_t> ids = RandomIds(4096, model->config.vocab_size);
  size_t next = 0;
  for (auto _ : state) {
    if ((*session)->position() == 512) NPUMOE_CHECK((*session)->Rewind(0).ok());
    NPUMOE_CHECK((*session)->Decode(ids[next++ % ids.size()]).ok());
  }
  state.counters["GB/s"] = benchmark::Counter(1e-9 * DecodeBytes(model->config),
                                              benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_Decode)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace npumoe
