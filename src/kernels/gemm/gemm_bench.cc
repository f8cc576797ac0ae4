#include <memory>

#include "kernels/gemm/gemm.h"
#include "kernels/testing/kernel_bench.h"

namespace npumoe {
namespace {

using bench::Floats;

// Enough copies of the weights that each call finds them in memory, not in a cache.
class ColdWeights {
 public:
  ColdWeights(DType dtype, int64_t rows, int64_t columns) {
    constexpr size_t kBytes = size_t{128} << 20;
    do {
      copies_.push_back(std::make_unique<bench::Weights>(dtype, rows, columns));
    } while (copies_.size() * copies_[0]->buffer.size() < kBytes);
  }
  const TensorView& Next() { return copies_[next_++ % copies_.size()]->view; }

 private:
  std::vector<std::unique_ptr<bench::Weights>> copies_;
  size_t next_ = 0;
};

// Arguments: rows, outputs, inputs, threads.
void Product(benchmark::State& state, DType dtype) {
  const int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  ThreadPool pool(static_cast<int>(state.range(3)));
  const Floats in(m, k);
  Floats out(m, n);
  ColdWeights weights(dtype, n, k);
  bench::FlopShare share(state, pool);
  for (auto _ : state) MatMul(in.matrix, weights.Next(), {}, out.matrix, pool);
  share.Report(2.0 * static_cast<double>(m * n * k));
}

void VectorProduct(benchmark::State& state, DType dtype) {
  const int64_t n = state.range(0), k = state.range(1);
  ThreadPool pool(static_cast<int>(state.range(2)));
  const Floats in(1, k);
  Floats out(1, n);
  ColdWeights weights(dtype, n, k);
  bench::ByteShare share(state, pool);
  for (auto _ : state) MatMul(in.matrix, weights.Next(), {}, out.matrix, pool);
  share.Report(static_cast<double>(BytesOf(dtype, n * k)));
}

void Shapes(benchmark::internal::Benchmark* b) {
  for (const int64_t threads : {1, 2}) {
    b->Args({2048, 4096, 4096, threads});  // square: the yardstick of the others
    b->Args({512, 4096, 2048, threads});   // attention projections of Qwen3-30B-A3B
    b->Args({32, 768, 2048, threads});     // one expert: gate, up
    b->Args({32, 2048, 768, threads});     // one expert: down
  }
  b->UseRealTime()->Unit(benchmark::kMillisecond)->MinTime(0.3);
}

void VectorShapes(benchmark::internal::Benchmark* b) {
  for (const int64_t threads : {1, 2}) {
    b->Args({768, 2048, threads});
    b->Args({2048, 768, threads});
    b->Args({16384, 2048, threads});
  }
  b->UseRealTime()->Unit(benchmark::kMicrosecond)->MinTime(0.2);
}

// Quantised types, a part of the shapes: compare with BF16 above. One row is measured by the bytes
// that it reads, many rows by operations.
void QuantizedShapes(benchmark::internal::Benchmark* b) {
  b->Args({512, 4096, 2048, 2})->Args({32, 768, 2048, 2});
  b->UseRealTime()->Unit(benchmark::kMillisecond)->MinTime(0.3);
}

void QuantizedVectorShapes(benchmark::internal::Benchmark* b) {
  b->Args({768, 2048, 2})->Args({16384, 2048, 1})->Args({16384, 2048, 2});
  b->UseRealTime()->Unit(benchmark::kMicrosecond)->MinTime(0.2);
}

BENCHMARK_CAPTURE(Product, BF16, DType::kBF16)->Apply(Shapes);
BENCHMARK_CAPTURE(Product, F16, DType::kF16)->Apply(Shapes);
BENCHMARK_CAPTURE(Product, F32, DType::kF32)->Apply(Shapes);
BENCHMARK_CAPTURE(VectorProduct, BF16, DType::kBF16)->Apply(VectorShapes);
BENCHMARK_CAPTURE(VectorProduct, F16, DType::kF16)->Apply(VectorShapes);
BENCHMARK_CAPTURE(VectorProduct, F32, DType::kF32)->Apply(VectorShapes);
BENCHMARK_CAPTURE(Product, Q8_0, DType::kQ8_0)->Apply(QuantizedShapes);
BENCHMARK_CAPTURE(Product, Q4_0, DType::kQ4_0)->Apply(QuantizedShapes);
BENCHMARK_CAPTURE(Product, Q4_1, DType::kQ4_1)->Apply(QuantizedShapes);
BENCHMARK_CAPTURE(Product, Q5_0, DType::kQ5_0)->Apply(QuantizedShapes);
BENCHMARK_CAPTURE(Product, Q5_1, DType::kQ5_1)->Apply(QuantizedShapes);
BENCHMARK_CAPTURE(Product, Q4_K, DType::kQ4_K)->Apply(QuantizedShapes);
BENCHMARK_CAPTURE(Product, Q5_K, DType::kQ5_K)->Apply(QuantizedShapes);
BENCHMARK_CAPTURE(Product, Q6_K, DType::kQ6_K)->Apply(QuantizedShapes);
BENCHMARK_CAPTURE(Product, MXFP4, DType::kMXFP4)->Apply(QuantizedShapes);
BENCHMARK_CAPTURE(VectorProduct, Q8_0, DType::kQ8_0)->Apply(QuantizedVectorShapes);
BENCHMARK_CAPTURE(VectorProduct, Q4_0, DType::kQ4_0)->Apply(QuantizedVectorShapes);
BENCHMARK_CAPTURE(VectorProduct, Q4_1, DType::kQ4_1)->Apply(QuantizedVectorShapes);
BENCHMARK_CAPTURE(VectorProduct, Q5_0, DType::kQ5_0)->Apply(QuantizedVectorShapes);
BENCHMARK_CAPTURE(VectorProduct, Q5_1, DType::kQ5_1)->Apply(QuantizedVectorShapes);
BENCHMARK_CAPTURE(VectorProduct, Q4_K, DType::kQ4_K)->Apply(QuantizedVectorShapes);
BENCHMARK_CAPTURE(VectorProduct, Q5_K, DType::kQ5_K)->Apply(QuantizedVectorShapes);
BENCHMARK_CAPTURE(VectorProduct, Q6_K, DType::kQ6_K)->Apply(QuantizedVectorShapes);
BENCHMARK_CAPTURE(VectorProduct, MXFP4, DType::kMXFP4)->Apply(QuantizedVectorShapes);

}  // namespace
}  // namespace npumoe
