#include "kernels/gemm/transposed.h"
#include "kernels/testing/kernel_bench.h"

namespace npumoe {
namespace {

constexpr int64_t kHeads = 16, kNope = 128, kLatent = 512;  // DeepSeek-V2-Lite

// What decoding does in each layer: the queries of all heads through their key projections, a
// head per task.
void AbsorbQueries(benchmark::State& state, DType dtype) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  const bench::Floats queries(kHeads, kNope);
  bench::Floats absorbed(kHeads, kLatent);
  const bench::Weights weights(dtype, kHeads * kNope, kLatent);
  const size_t head_bytes = BytesOf(dtype, kNope * kLatent);
  bench::ByteShare share(state, pool);
  for (auto _ : state) {
    pool.ParallelFor(kHeads, [&](int64_t h, int) {
      const TensorView slice{
          dtype, {kNope, kLatent}, weights.view.data + static_cast<size_t>(h) * head_bytes};
      MatMulTransposedOnThisThread({queries.matrix.Row(h), 1, kNope, kNope}, slice,
                                   {absorbed.matrix.Row(h), 1, kLatent, kLatent});
    });
  }
  share.Report(static_cast<double>(kHeads) * static_cast<double>(head_bytes));
}
BENCHMARK_CAPTURE(AbsorbQueries, BF16, DType::kBF16)
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(AbsorbQueries, Q8_0, DType::kQ8_0)
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(AbsorbQueries, F32, DType::kF32)
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace npumoe
