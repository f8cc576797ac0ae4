// Cuts a product into tasks for the pool. Activations are packed once per row panel and shared by
// all tasks; a task is a range of weight rows times a range of activation rows.
#include "kernels/gemm/gemm.h"

#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "kernels/gemm/block_product.h"

namespace npumoe {
namespace {

// Packed activations at once: 16 MB of fp32 (chosen; 2048 rows of 2048 columns), so that long
// inputs need bounded scratch; each panel reads the weights once more.
constexpr int64_t kPanelFloats = int64_t{4} << 20;
// Weight rows of one task: with 1024 columns of BF16 a quarter of a 1 MB L2 cache.
constexpr int64_t kWeightRowsPerTask = 256;
constexpr int64_t kMinWeightRowsPerTask = 32;  // chosen: still tens of microseconds of work
constexpr int64_t kMinRowsPerTask = 48;        // chosen: weights are read once per task
constexpr int64_t kTasksPerThread = 4;         // chosen: evens out unequal threads

struct Cut {
  int64_t weight_rows;
  int64_t rows;
};

Cut CutOf(int64_t m, int64_t n, int threads) {
  Cut cut{kWeightRowsPerTask, m};
  const auto too_few = [&] {
    return DivideRoundUp(n, cut.weight_rows) * DivideRoundUp(m, cut.rows) <
           kTasksPerThread * threads;
  };
  while (too_few() && cut.weight_rows > kMinWeightRowsPerTask) cut.weight_rows /= 2;
  while (too_few() && cut.rows >= 2 * kMinRowsPerTask)
    cut.rows = DivideRoundUp<int64_t>(cut.rows, 2);
  return cut;
}

struct Product {
  PackedRows in;
  TensorView weight;
  const float* bias;
  Matrix out;
};

void RunTask(const Product& p, const Cut& cut, int64_t index) {
  const int64_t tasks_along_n = DivideRoundUp(p.out.columns, cut.weight_rows);
  const int64_t begin = index % tasks_along_n * cut.weight_rows;
  const int64_t end = std::min(begin + cut.weight_rows, p.out.columns);
  const int64_t first = index / tasks_along_n * cut.rows;
  const int64_t last = std::min(first + cut.rows, p.in.rows);
  const Matrix out{p.out.Row(first) + begin, last - first, end - begin, p.out.stride};
  MultiplyBlock({p.in.Rows(first, last), p.weight, p.bias, begin, end, out});
}

int64_t CountTasks(const Product& p, const Cut& cut) {
  return DivideRoundUp(p.out.columns, cut.weight_rows) * DivideRoundUp(p.in.rows, cut.rows);
}

void RunPanel(ConstMatrix in, Product p, ThreadPool* pool) {
  thread_local AlignedBuffer<float> packed;
  const int64_t stride = PackedStride(in.columns);
  packed.EnsureSize(static_cast<size_t>(in.rows * stride));
  float* const data = packed.data();
  p.in = {data, in.rows, in.columns, stride};
  const auto pack = [&](int64_t begin, int64_t end, int) {
    PackRows({in.Row(begin), end - begin, in.columns, in.stride}, p.weight.dtype,
             data + begin * stride, stride);
  };
  const Cut cut = CutOf(in.rows, p.out.columns, pool == nullptr ? 1 : pool->threads());
  const int64_t tasks = CountTasks(p, cut);
  if (pool == nullptr) {
    pack(0, in.rows, 0);
    for (int64_t i = 0; i < tasks; ++i) RunTask(p, cut, i);
    return;
  }
  if (in.rows * in.columns < kPanelFloats / 64) {  // too little to wake other threads for
    pack(0, in.rows, 0);
  } else {
    pool->ParallelRanges(in.rows, 1, pack);
  }
  pool->ParallelFor(tasks, [&](int64_t i, int) { RunTask(p, cut, i); });
}

void Run(ConstMatrix in, const TensorView& weight, std::span<const float> bias, Matrix out,
         ThreadPool* pool) {
  NPUMOE_CHECK(weight.shape.rank() == 2);
  NPUMOE_CHECK(in.rows == out.rows && in.columns == weight.shape[1]);
  NPUMOE_CHECK(out.columns == weight.shape[0]);
  NPUMOE_CHECK(bias.empty() || static_cast<int64_t>(bias.size()) == out.columns);
  const int64_t panel = std::max<int64_t>(1, kPanelFloats / std::max<int64_t>(1, in.columns));
  for (int64_t row = 0; row < in.rows; row += panel) {
    const int64_t rows = std::min(panel, in.rows - row);
    const float* initial = bias.empty() ? nullptr : bias.data();
    RunPanel({in.Row(row), rows, in.columns, in.stride},
             {{}, weight, initial, {out.Row(row), rows, out.columns, out.stride}}, pool);
  }
}

}  // namespace

void MatMul(ConstMatrix in, const TensorView& weight, std::span<const float> bias, Matrix out,
            ThreadPool& pool) {
  Run(in, weight, bias, out, &pool);
}

void MatMulOnThisThread(ConstMatrix in, const TensorView& weight, std::span<const float> bias,
                        Matrix out) {
  Run(in, weight, bias, out, nullptr);
}

}  // namespace npumoe
