#include "kernels/norm/rms_norm.h"

#include <gtest/gtest.h>

#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::AsMatrix;
using testing::RandomFloats;
using testing::RandomWeights;

// The sum of n squares (all positive) has relative error at most n u, the square root halves it;
// division, root, scaling and weighting add four roundings. |out| <= sqrt(n) * |weight|.
double Bound(int64_t n) {
  const auto size = static_cast<double>(n);
  return (size / 2 + 4) * testing::kUnitRoundoff * std::sqrt(size);
}

TEST(RmsNorm, EqualsTheReferenceForEveryTypeTargetAndWidth) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const int64_t columns : {1, 7, 32, 100, 2048}) {
        constexpr int64_t kRows = 19;
        auto in = RandomFloats(static_cast<size_t>(kRows * columns), 1, 3.0);
        const auto weight = RandomWeights(dtype, {columns}, 2);
        std::vector<float> expected(in.size());
        std::vector<float> actual(in.size());
        RmsNormReference(AsMatrix(in, kRows, columns), weight.view, 1e-6f,
                         AsMatrix(expected, kRows, columns));
        RmsNorm(AsMatrix(in, kRows, columns), weight.view, 1e-6f, AsMatrix(actual, kRows, columns),
                pool);
        testing::ExpectWithin(actual, expected, Bound(columns));
      }
    }
  });
}

TEST(RmsNorm, PerHeadNormalisesEveryHeadByItself) {
  ThreadPool pool(2);
  constexpr int64_t kRows = 70, kHeads = 5, kHeadDim = 24;
  auto in = RandomFloats(kRows * kHeads * kHeadDim, 3);
  const auto weight = RandomWeights(DType::kBF16, {kHeadDim}, 4);
  std::vector<float> expected(in.size());
  RmsNormReference(AsMatrix(in, kRows * kHeads, kHeadDim), weight.view, 1e-6f,
                   AsMatrix(expected, kRows * kHeads, kHeadDim));
  std::vector<float> actual(in.size());
  RmsNormPerHead(AsMatrix(in, kRows, kHeads * kHeadDim), weight.view, 1e-6f,
                 AsMatrix(actual, kRows, kHeads * kHeadDim), pool);
  testing::ExpectWithin(actual, expected, Bound(kHeadDim));
}

TEST(RmsNorm, WorksInPlace) {
  ThreadPool pool(2);
  auto values = RandomFloats(40 * 1000, 5);
  const auto weight = RandomWeights(DType::kF32, {1000}, 6);
  std::vector<float> apart(values.size());
  RmsNorm(AsMatrix(values, 40, 1000), weight.view, 1e-5f, AsMatrix(apart, 40, 1000), pool);
  RmsNorm(AsMatrix(values, 40, 1000), weight.view, 1e-5f, AsMatrix(values, 40, 1000), pool);
  EXPECT_EQ(values, apart);
}

}  // namespace
}  // namespace npumoe
