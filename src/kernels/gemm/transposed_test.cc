#include "kernels/gemm/transposed.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/convert/convert.h"
#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::AsMatrix;
using testing::Magnitudes;
using testing::RandomFloats;
using testing::RandomWeights;

constexpr DType kPlainTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

// Summation of n products in any order, fused or not: n u sum |x w| to first order (Higham,
// Accuracy and Stability, 3.1), and the rounding of the reference.
std::vector<double> Bounds(const std::vector<float>& in, const TensorView& weight, int64_t m) {
  const int64_t n = weight.shape[0];
  const int64_t k = weight.shape[1];
  std::vector<float> x = Magnitudes(in);
  std::vector<float> w(static_cast<size_t>(n * k));
  ToF32(weight, 0, w);
  w = Magnitudes(w);
  std::vector<float> sums(static_cast<size_t>(m * k));
  MatMulTransposedReference(AsMatrix(x, m, n),
                            {DType::kF32, {n, k}, reinterpret_cast<const std::byte*>(w.data())},
                            AsMatrix(sums, m, k));
  std::vector<double> bounds(sums.begin(), sums.end());
  for (double& bound : bounds) bound *= static_cast<double>(n + 1) * testing::kUnitRoundoff;
  return bounds;
}

void ExpectEqualsReference(DType dtype, int64_t m, int64_t n, int64_t k, ThreadPool& pool) {
  SCOPED_TRACE(::testing::Message() << m << " x " << n << " x " << k << " " << Name(dtype));
  auto in = RandomFloats(static_cast<size_t>(m * n), 1);
  const auto weight = RandomWeights(dtype, {n, k}, 2);
  std::vector<float> expected(static_cast<size_t>(m * k));
  std::vector<float> actual(expected.size(), 7.0f);
  std::vector<float> alone(expected.size(), 7.0f);
  MatMulTransposedReference(AsMatrix(in, m, n), weight.view, AsMatrix(expected, m, k));
  MatMulTransposed(AsMatrix(in, m, n), weight.view, AsMatrix(actual, m, k), pool);
  MatMulTransposedOnThisThread(AsMatrix(in, m, n), weight.view, AsMatrix(alone, m, k));
  testing::ExpectWithin(actual, expected, Bounds(in, weight.view, m));
  EXPECT_EQ(actual, alone);
}

TEST(MatMulTransposed, EqualsTheReferenceForEveryPlainTypeTargetAndOddShape) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const DType dtype : kPlainTypes) {
      ExpectEqualsReference(dtype, 1, 1, 1, pool);
      ExpectEqualsReference(dtype, 1, 128, 512, pool);
      ExpectEqualsReference(dtype, 3, 7, 33, pool);
      ExpectEqualsReference(dtype, 5, 24, 1061, pool);
    }
  });
}

TEST(MatMulTransposed, EqualsTheReferenceForQuantizedTypes) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const DType dtype : testing::kQuantizedTypes) {
      ExpectEqualsReference(dtype, 1, 13, 256, pool);
      ExpectEqualsReference(dtype, 4, 24, 1280, pool);
    }
  });
}

TEST(MatMulTransposed, GivesARowTheSameBitsWhateverTheOtherRows) {
  ThreadPool pool(3);
  constexpr int64_t kRows = 5, kInputs = 30, kOutputs = 520;
  auto in = RandomFloats(kRows * kInputs, 4);
  const auto weight = RandomWeights(DType::kBF16, {kInputs, kOutputs}, 2);
  std::vector<float> together(kRows * kOutputs);
  std::vector<float> apart(together.size());
  MatMulTransposed(AsMatrix(in, kRows, kInputs), weight.view, AsMatrix(together, kRows, kOutputs),
                   pool);
  for (int64_t row = 0; row < kRows; ++row) {
    MatMulTransposedOnThisThread({in.data() + row * kInputs, 1, kInputs, kInputs}, weight.view,
                                 {apart.data() + row * kOutputs, 1, kOutputs, kOutputs});
  }
  EXPECT_EQ(together, apart);
}

TEST(MatMulTransposed, RespectsStridesOfBothMatrices) {
  constexpr int64_t kRows = 3, kInputs = 10, kOutputs = 40, kInStride = 17, kOutStride = 45;
  auto in = RandomFloats(kRows * kInStride, 5);
  const auto weight = RandomWeights(DType::kF16, {kInputs, kOutputs}, 2);
  std::vector<float> expected(kRows * kOutStride, -3.0f);
  std::vector<float> actual = expected;
  const ConstMatrix x{in.data(), kRows, kInputs, kInStride};
  MatMulTransposedReference(x, weight.view, {expected.data(), kRows, kOutputs, kOutStride});
  MatMulTransposedOnThisThread(x, weight.view, {actual.data(), kRows, kOutputs, kOutStride});
  // 10 products of magnitude at most 1. Gaps stay as they were.
  testing::ExpectWithin(actual, expected, 11 * 10 * testing::kUnitRoundoff);
}

}  // namespace
}  // namespace npumoe
