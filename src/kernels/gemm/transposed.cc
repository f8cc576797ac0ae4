// Every weight row is decoded once, a few rows at a time, into a part of the L1 cache, and added
// to all output rows. Bound by reading the weights for few rows, which is what it is made for.
#include "kernels/gemm/transposed.h"

#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "kernels/convert/convert.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/transposed.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// out[i] += x[0] rows[0][i] + ... + x[kRows - 1] rows[kRows - 1][i], on `lanes` elements.
template <int kRows, class D>
HWY_INLINE void AddAt(D d, const float* x, const float* rows, size_t stride, size_t i, float* out) {
  auto sum = hn::LoadU(d, out + i);
  HWY_UNROLL(8)
  for (size_t j = 0; j < kRows; ++j) {
    sum = hn::MulAdd(hn::Set(d, x[j]), hn::LoadU(d, rows + j * stride + i), sum);
  }
  hn::StoreU(sum, d, out + i);
}

// One lane at the end does what whole vectors do, so a column's bits do not depend on the cut.
template <int kRows>
HWY_INLINE void AddRowsOf(const float* x, const float* rows, size_t stride, size_t columns,
                          float* out) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= columns; i += lanes) AddAt<kRows>(d, x, rows, stride, i, out);
  for (; i < columns; ++i) AddAt<kRows>(one, x, rows, stride, i, out);
}

void AddFourRows(const float* x, const float* rows, size_t stride, size_t columns, float* out) {
  AddRowsOf<4>(x, rows, stride, columns, out);
}

void AddOneRow(const float* x, const float* rows, size_t stride, size_t columns, float* out) {
  AddRowsOf<1>(x, rows, stride, columns, out);
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {
namespace {

HWY_EXPORT(AddFourRows);
HWY_EXPORT(AddOneRow);

constexpr int64_t kRowsPerPass = 4;  // chosen: a load and a store of the output per four products
// Columns of a pass: a multiple of every block. Four decoded rows and an output row of 1024 fill
// 20 KB of the L1 cache; smaller cuts give the threads of a pool something to share.
constexpr int64_t kColumnsPerPass = 1024;
constexpr int64_t kColumnsPerTask = 256;

struct Columns {
  int64_t begin = 0;
  int64_t count = 0;
};

// Rows [n, n + count) of the columns as fp32: where they lie, or decoded. `stride` is from one to
// the next.
const float* RowsAsF32(const TensorView& weight, int64_t n, int64_t count, const Columns& columns,
                       size_t& stride) {
  thread_local AlignedBuffer<float> decoded;
  const int64_t first = n * weight.shape[1] + columns.begin;
  stride = static_cast<size_t>(weight.shape[1]);
  if (weight.dtype == DType::kF32) return weight.as<float>() + first;
  stride = static_cast<size_t>(columns.count);
  decoded.EnsureSize(static_cast<size_t>(kRowsPerPass * kColumnsPerPass));
  for (int64_t j = 0; j < count; ++j) {
    ToF32(weight, first + j * weight.shape[1],
          {decoded.data() + static_cast<size_t>(j) * stride, stride});
  }
  return decoded.data();
}

void MultiplyColumns(ConstMatrix in, const TensorView& weight, const Columns& columns, Matrix out) {
  const auto count = static_cast<size_t>(columns.count);
  for (int64_t m = 0; m < in.rows; ++m) std::fill_n(out.Row(m) + columns.begin, count, 0.0f);
  for (int64_t n = 0, pass = 0; n < in.columns; n += pass) {
    pass = in.columns - n >= kRowsPerPass ? kRowsPerPass : 1;
    size_t stride = 0;
    const float* rows = RowsAsF32(weight, n, pass, columns, stride);
    for (int64_t m = 0; m < in.rows; ++m) {
      const float* x = in.Row(m) + n;
      float* sums = out.Row(m) + columns.begin;
      if (pass == 1) {
        HWY_DYNAMIC_DISPATCH(AddOneRow)(x, rows, stride, count, sums);
      } else {
        HWY_DYNAMIC_DISPATCH(AddFourRows)(x, rows, stride, count, sums);
      }
    }
  }
}

void CheckShapes(ConstMatrix in, const TensorView& weight, Matrix out) {
  NPUMOE_CHECK(weight.shape.rank() == 2 && in.rows == out.rows);
  NPUMOE_CHECK(in.columns == weight.shape[0] && out.columns == weight.shape[1]);
  NPUMOE_CHECK(out.columns % BlockElements(weight.dtype) == 0);
}

}  // namespace

void MatMulTransposed(ConstMatrix in, const TensorView& weight, Matrix out, ThreadPool& pool) {
  CheckShapes(in, weight, out);
  pool.ParallelFor(DivideRoundUp(out.columns, kColumnsPerTask), [&](int64_t i, int) {
    const int64_t begin = i * kColumnsPerTask;
    MultiplyColumns(in, weight, {begin, std::min(kColumnsPerTask, out.columns - begin)}, out);
  });
}

void MatMulTransposedOnThisThread(ConstMatrix in, const TensorView& weight, Matrix out) {
  CheckShapes(in, weight, out);
  for (int64_t begin = 0; begin < out.columns; begin += kColumnsPerPass) {
    MultiplyColumns(in, weight, {begin, std::min(kColumnsPerPass, out.columns - begin)}, out);
  }
}

}  // namespace npumoe
#endif
