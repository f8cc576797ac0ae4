// One MoE layer of Qwen3-30B-A3B over a chunk of 512 tokens, random routing.
#include <vector>

#include "kernels/dispatch/dispatch.h"
#include "kernels/router/router.h"
#include "kernels/testing/kernel_bench.h"

namespace npumoe {
namespace {

constexpr int64_t kTokens = 512, kHidden = 2048;
constexpr int kExperts = 128, kSlots = 8;

struct Chunk {
  Chunk()
      : hidden(kTokens, kHidden),
        logits(kTokens, kExperts),
        ids(kTokens * kSlots),
        weights(ids.size()) {
    ThreadPool pool(1);
    RouteTopK(logits.matrix, kSlots, true, ids, weights, pool);
    BuildExpertLists(ids, kSlots, kExperts, lists);
  }
  bench::Floats hidden, logits;
  std::vector<int32_t> ids;
  std::vector<float> weights;
  ExpertLists lists;
};

void Route(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  Chunk c;
  for (auto _ : state) {
    RouteTopK(c.logits.matrix, kSlots, true, c.ids, c.weights, pool);
    BuildExpertLists(c.ids, kSlots, kExperts, c.lists);
  }
}
BENCHMARK(Route)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

// All assignments into one channel-major buffer: reads fp32, writes fp16.
void GatherTransposed(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  const Chunk c;
  AlignedBuffer<uint16_t> out(static_cast<size_t>(kTokens * kSlots * kHidden));
  bench::ByteShare share(state, pool);
  for (auto _ : state) {
    int64_t begin = 0;
    for (int e = 0; e < kExperts; ++e) {
      const auto rows = c.lists.Of(e);
      const auto capacity = static_cast<int64_t>(rows.size());
      GatherTransposedF16(c.hidden.matrix, rows, kSlots, capacity, out.data() + begin * kHidden,
                          pool);
      begin += capacity;
    }
  }
  share.Report(6.0 * static_cast<double>(kTokens * kSlots * kHidden));
}
BENCHMARK(GatherTransposed)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

void Combine(benchmark::State& state, OutputRow::Layout layout) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  const Chunk c;
  bench::Floats residual(kTokens, kHidden);
  AlignedBuffer<float> out(static_cast<size_t>(kTokens * kSlots * kHidden));
  std::vector<OutputRow> rows(c.ids.size());
  const auto* halves = reinterpret_cast<const uint16_t*>(out.data());
  for (int e = 0; e < kExperts; ++e) {
    const int64_t begin = c.lists.offsets[static_cast<size_t>(e)];
    const auto assignments = c.lists.Of(e);
    for (size_t r = 0; r < assignments.size(); ++r) {
      OutputRow& row = rows[static_cast<size_t>(assignments[r])];
      row.layout = layout;
      row.stride = static_cast<int64_t>(assignments.size());
      row.data =
          layout == OutputRow::Layout::kF32Row
              ? static_cast<const void*>(out.data() + (begin + static_cast<int64_t>(r)) * kHidden)
              : halves + begin * kHidden + static_cast<int64_t>(r);
    }
  }
  for (auto _ : state) CombineRows(rows, c.weights, kSlots, residual.matrix, pool);
}
BENCHMARK_CAPTURE(Combine, F32Row, OutputRow::Layout::kF32Row)
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Combine, F16Column, OutputRow::Layout::kF16Column)
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace npumoe
