#include "kernels/norm/layer_norm.h"

#include <gtest/gtest.h>

#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::AsMatrix;
using testing::RandomFloats;
using testing::RandomWeights;

// Rounding errors of a sum of n terms add up like sqrt(n) (Higham, Accuracy and Stability, 2.8);
// 4 sqrt(n) u leaves room for the unluckiest row. Against a deviation of about range / 2, a mean
// of values up to range + shift moves the result by 8 sqrt(n) u (range + shift) / range. Variance
// (halved by the root), root, division, scaling and bias change normed values, below 4 for uniform
// inputs, by (2 sqrt(n) + 6) u. Weights and biases are at most 1.
double Bound(int64_t n, double range, double shift) {
  const double root = std::sqrt(static_cast<double>(n));
  const double of_mean = 8 * root * (range + shift) / range;
  return (of_mean + 4 * (2 * root + 6)) * testing::kUnitRoundoff;
}

void ExpectEqualsReference(DType dtype, int64_t columns, double shift, ThreadPool& pool) {
  SCOPED_TRACE(::testing::Message() << columns << " columns of " << Name(dtype));
  constexpr int64_t kRows = 19;
  constexpr double kRange = 3.0;
  auto in = RandomFloats(static_cast<size_t>(kRows * columns), 1, kRange);
  for (float& value : in) value += static_cast<float>(shift);
  const auto weight = RandomWeights(dtype, {columns}, 2);
  const auto bias = RandomWeights(dtype, {columns}, 3);
  std::vector<float> expected(in.size());
  std::vector<float> actual(in.size());
  LayerNormReference(AsMatrix(in, kRows, columns), weight.view, bias.view, 1e-5f,
                     AsMatrix(expected, kRows, columns));
  LayerNorm(AsMatrix(in, kRows, columns), weight.view, bias.view, 1e-5f,
            AsMatrix(actual, kRows, columns), pool);
  testing::ExpectWithin(actual, expected, Bound(columns, kRange, shift));
}

TEST(LayerNorm, EqualsTheReferenceForEveryTypeTargetAndWidth) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const int64_t columns : {17, 32, 100, 2048}) {
        ExpectEqualsReference(dtype, columns, 0, pool);
      }
    }
  });
}

TEST(LayerNorm, StaysAccurateForRowsFarFromZero) {
  ThreadPool pool(2);
  // With mean(x^2) - mean(x)^2 in fp32 the variance of 3 beside 10^6 would have no digit left.
  testing::OnEveryTarget([&] { ExpectEqualsReference(DType::kF32, 96, 1000.0, pool); });
}

TEST(LayerNorm, GivesTheBiasForAConstantRow) {
  ThreadPool pool(1);
  std::vector<float> in(48, 5.0f);
  const auto weight = RandomWeights(DType::kF32, {48}, 4);
  const auto bias = RandomWeights(DType::kF32, {48}, 5);
  LayerNorm(AsMatrix(in, 1, 48), weight.view, bias.view, 1e-5f, AsMatrix(in, 1, 48), pool);
  for (size_t i = 0; i < in.size(); ++i) EXPECT_EQ(in[i], bias.view.as<float>()[i]) << i;
}

TEST(LayerNorm, WorksInPlaceOnAnyNumberOfThreads) {
  ThreadPool one(1);
  ThreadPool three(3);
  auto values = RandomFloats(40 * 1000, 6);
  const auto weight = RandomWeights(DType::kBF16, {1000}, 7);
  const auto bias = RandomWeights(DType::kBF16, {1000}, 8);
  std::vector<float> apart(values.size());
  LayerNorm(AsMatrix(values, 40, 1000), weight.view, bias.view, 1e-5f, AsMatrix(apart, 40, 1000),
            one);
  LayerNorm(AsMatrix(values, 40, 1000), weight.view, bias.view, 1e-5f, AsMatrix(values, 40, 1000),
            three);
  EXPECT_EQ(values, apart);
}

}  // namespace
}  // namespace npumoe
