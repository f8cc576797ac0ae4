#include "kernels/gemm/gemm.h"

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

struct Case {
  int64_t m, n, k;
};

constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

// Summation in any order of k products with fused multiply-adds differs from the exact sum by at
// most k u sum |x w| to first order (u: unit roundoff; Higham, Accuracy and Stability, 3.1); two
// more roundings are the bias and the reference's own result.
std::vector<double> Bounds(const Case& c, const std::vector<float>& in, const TensorView& weight,
                           const std::vector<float>& bias) {
  std::vector<float> x = Magnitudes(in);
  std::vector<float> w(static_cast<size_t>(c.n * c.k));
  ToF32(weight, 0, w);
  w = Magnitudes(w);
  std::vector<float> sums(static_cast<size_t>(c.m * c.n));
  MatMulReference(AsMatrix(x, c.m, c.k),
                  {DType::kF32, {c.n, c.k}, reinterpret_cast<const std::byte*>(w.data())},
                  Magnitudes(bias), AsMatrix(sums, c.m, c.n));
  std::vector<double> bounds(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    bounds[i] = static_cast<double>(c.k + 2) * testing::kUnitRoundoff * double{sums[i]};
  }
  return bounds;
}

void ExpectEqualsReference(const Case& c, DType dtype, ThreadPool& pool, bool with_bias) {
  SCOPED_TRACE(::testing::Message() << c.m << " x " << c.n << " x " << c.k << " " << Name(dtype));
  auto in = RandomFloats(static_cast<size_t>(c.m * c.k), 1);
  const auto weight = RandomWeights(dtype, {c.n, c.k}, 2);
  const auto bias = with_bias ? RandomFloats(static_cast<size_t>(c.n), 3) : std::vector<float>();
  std::vector<float> expected(static_cast<size_t>(c.m * c.n));
  std::vector<float> actual(expected.size(), 7.0f);
  MatMulReference(AsMatrix(in, c.m, c.k), weight.view, bias, AsMatrix(expected, c.m, c.n));
  MatMul(AsMatrix(in, c.m, c.k), weight.view, bias, AsMatrix(actual, c.m, c.n), pool);
  testing::ExpectWithin(actual, expected, Bounds(c, in, weight.view, bias));
}

TEST(MatMul, EqualsTheReferenceForEveryTypeTargetAndOddShape) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const DType dtype : kTypes) {
      for (const Case& c : {Case{1, 1, 1},
                            {1, 5, 31},
                            {2, 3, 33},
                            {3, 130, 64},
                            {5, 4, 1025},
                            {6, 7, 47},
                            {7, 129, 1},
                            {13, 9, 95},
                            {33, 40, 70},
                            {100, 70, 40}}) {
        ExpectEqualsReference(c, dtype, pool, c.n % 2 == 0);
      }
    }
  });
}

TEST(MatMul, EqualsTheReferenceOverSeveralColumnBlocksAndTasks) {
  ThreadPool pool(2);
  for (const DType dtype : kTypes) {
    ExpectEqualsReference({19, 300, 2080}, dtype, pool, false);
    ExpectEqualsReference({130, 61, 1100}, dtype, pool, true);
  }
}

TEST(MatMul, EqualsTheReferenceForEveryQuantisedTypeAndTarget) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const DType dtype : testing::kQuantizedTypes) {
      for (const Case& c : {Case{1, 1, 256}, {1, 21, 512}, {3, 130, 256}, {7, 9, 768}}) {
        ExpectEqualsReference(c, dtype, pool, c.n % 2 == 0);
      }
    }
    ExpectEqualsReference({2, 5, 32}, DType::kQ8_0, pool, false);
    ExpectEqualsReference({1, 5, 96}, DType::kQ4_0, pool, false);
  });
}

TEST(MatMul, EqualsTheReferenceOverSeveralBlocksOfQuantisedColumns) {
  ThreadPool pool(2);
  for (const DType dtype : testing::kQuantizedTypes) {
    ExpectEqualsReference({1, 70, 2304}, dtype, pool, true);
    ExpectEqualsReference({19, 70, 1280}, dtype, pool, false);
    ExpectEqualsReference({130, 61, 1280}, dtype, pool, true);
  }
}

TEST(MatMul, GivesARowTheSameBitsWhateverTheOtherRowsAndTheThreads) {
  ThreadPool one(1);
  ThreadPool three(3);
  constexpr int64_t kRows = 101, kOutputs = 70, kMaxInputs = 1280;
  auto in = RandomFloats(kRows * kMaxInputs, 4);
  std::vector<DType> types(std::begin(kTypes), std::end(kTypes));
  for (const DType quantized : testing::kQuantizedTypes) types.push_back(quantized);
  testing::OnEveryTarget([&] {
    for (const DType dtype : types) {
      const int64_t columns = IsQuantized(dtype) ? kMaxInputs : 1100;
      const auto weight = RandomWeights(dtype, {kOutputs, columns}, 5);
      std::vector<float> together(kRows * kOutputs);
      std::vector<float> apart(together.size());
      MatMul(AsMatrix(in, kRows, columns), weight.view, {}, AsMatrix(together, kRows, kOutputs),
             three);
      for (int64_t row = 0, rows = 1; row < kRows; row += rows, ++rows) {
        rows = std::min(rows, kRows - row);
        MatMul({in.data() + row * columns, rows, columns, columns}, weight.view, {},
               {apart.data() + row * kOutputs, rows, kOutputs, kOutputs}, one);
      }
      EXPECT_EQ(together, apart) << Name(dtype);
    }
  });
}

TEST(MatMul, OnThisThreadGivesTheBitsOfThePool) {
  ThreadPool pool(2);
  auto in = RandomFloats(37 * 129, 6);
  const auto weight = RandomWeights(DType::kBF16, {50, 129}, 7);
  std::vector<float> pooled(37 * 50);
  std::vector<float> alone(pooled.size());
  MatMul(AsMatrix(in, 37, 129), weight.view, {}, AsMatrix(pooled, 37, 50), pool);
  MatMulOnThisThread(AsMatrix(in, 37, 129), weight.view, {}, AsMatrix(alone, 37, 50));
  EXPECT_EQ(pooled, alone);
}

// Decoding keeps every bit of a weight, so a product with quantised weights is the product with
// their values in fp32, bit for bit.
TEST(MatMul, GivesQuantisedWeightsTheBitsOfTheirValuesInFp32) {
  ThreadPool pool(2);
  constexpr int64_t kOutputs = 45, kInputs = 1280;
  auto in = RandomFloats(7 * kInputs, 11);
  testing::OnEveryTarget([&] {
    for (const DType dtype : testing::kQuantizedTypes) {
      const auto weight = RandomWeights(dtype, {kOutputs, kInputs}, 12);
      std::vector<float> values(kOutputs * kInputs);
      ToF32(weight.view, 0, values);
      const TensorView plain{DType::kF32, weight.view.shape,
                             reinterpret_cast<const std::byte*>(values.data())};
      for (const int64_t rows : {1, 7}) {
        std::vector<float> expected(static_cast<size_t>(rows * kOutputs));
        std::vector<float> actual(expected.size());
        MatMul({in.data(), rows, kInputs, kInputs}, plain, {}, AsMatrix(expected, rows, kOutputs),
               pool);
        MatMul({in.data(), rows, kInputs, kInputs}, weight.view, {},
               AsMatrix(actual, rows, kOutputs), pool);
        EXPECT_EQ(actual, expected) << Name(dtype) << ", rows " << rows;
      }
    }
  });
}

TEST(MatMul, RespectsStridesOfBothMatrices) {
  ThreadPool pool(2);
  constexpr int64_t kRows = 9, kInputs = 40, kOutputs = 11, kInStride = 57, kOutStride = 13;
  auto in = RandomFloats(kRows * kInStride, 8);
  const auto weight = RandomWeights(DType::kF16, {kOutputs, kInputs}, 9);
  std::vector<float> expected(kRows * kOutStride, -3.0f);
  std::vector<float> actual = expected;
  const ConstMatrix x{in.data(), kRows, kInputs, kInStride};
  MatMulReference(x, weight.view, {}, {expected.data(), kRows, kOutputs, kOutStride});
  MatMul(x, weight.view, {}, {actual.data(), kRows, kOutputs, kOutStride}, pool);
  // 40 products of magnitude at most 1: (k + 2) u sum |x w| <= 42 u 40. Gaps stay as they were.
  testing::ExpectWithin(actual, expected, 42 * 40 * testing::kUnitRoundoff);
}

TEST(MatMul, AcceptsZeroRows) {
  ThreadPool pool(1);
  const auto weight = RandomWeights(DType::kF32, {4, 8}, 10);
  MatMul({nullptr, 0, 8, 8}, weight.view, {}, {nullptr, 0, 4, 4}, pool);
}

}  // namespace
}  // namespace npumoe
