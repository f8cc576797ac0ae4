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
    Route(Router(RouterRule::kSoftmaxTopK), pool);
    BuildExpertLists(ids, kSlots, kExperts, lists);
  }
  RouterArgs Router(RouterRule rule) {
    RouterArgs args;
    args.rule = rule;
    args.k = args.choices = rule == RouterRule::kSparseMixer ? 2 : kSlots;
    args.normalize = true;
    args.jitter = 0.01f;
    args.num_groups = 8;
    args.groups_kept = 3;
    args.logits = logits.matrix;
    args.ids = std::span(ids).first(static_cast<size_t>(kTokens * args.choices));
    args.weights = std::span(weights).first(args.ids.size());
    return args;
  }
  bench::Floats hidden, logits;
  std::vector<int32_t> ids;
  std::vector<float> weights;
  ExpertLists lists;
};

// Argument: threads.
void RouteRule(benchmark::State& state, RouterRule rule) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  Chunk c;
  const RouterArgs args = c.Router(rule);
  for (auto _ : state) {
    Route(args, pool);
    BuildExpertLists(args.ids, args.k, kExperts, c.lists);
  }
}
void OneAndTwoThreads(benchmark::internal::Benchmark* b) {
  b->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK_CAPTURE(RouteRule, SoftmaxTopK, RouterRule::kSoftmaxTopK)->Apply(OneAndTwoThreads);
BENCHMARK_CAPTURE(RouteRule, TopKSoftmax, RouterRule::kTopKSoftmax)->Apply(OneAndTwoThreads);
BENCHMARK_CAPTURE(RouteRule, SparseMixer, RouterRule::kSparseMixer)->Apply(OneAndTwoThreads);
BENCHMARK_CAPTURE(RouteRule, GroupLimited, RouterRule::kGroupLimited)->Apply(OneAndTwoThreads);

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
