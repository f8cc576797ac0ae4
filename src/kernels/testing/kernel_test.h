// What the kernel tests share: seeded numbers, weights of every type, and running one test body on
// every instruction set that this machine has and this build compiled.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/tensor_view.h"
#include "hwy/targets.h"
#include "kernels/matrix.h"
#include "kernels/testing/random_blocks.h"

namespace npumoe::testing {

// Half the distance from 1 to the next float: the largest relative error of one rounding.
inline constexpr double kUnitRoundoff = std::numeric_limits<float>::epsilon() / 2.0;

// Uniform in [-range, range).
inline std::vector<float> RandomFloats(size_t count, uint64_t seed, double range = 1.0) {
  std::mt19937_64 random(seed);
  std::vector<float> values(count);
  for (float& v : values) {
    v = static_cast<float>((static_cast<double>(random() >> 11) * 0x1.0p-52 - 1.0) * range);
  }
  return values;
}

inline constexpr DType kQuantizedTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,
                                            DType::kQ5_0, DType::kQ5_1, DType::kQ4_K,
                                            DType::kQ5_K, DType::kQ6_K, DType::kMXFP4};

struct Weights {
  std::vector<std::byte> bytes;
  TensorView view;
};

inline Weights RandomWeights(DType dtype, Shape shape, uint64_t seed, double range = 1.0) {
  Weights weights;
  if (IsQuantized(dtype)) {
    weights.bytes.resize(BytesOf(dtype, shape.elements()));
    FillWithRandomBlocks(dtype, seed, range, weights.bytes);
    weights.view = {dtype, shape, weights.bytes.data()};
    return weights;
  }
  const std::vector<float> values =
      RandomFloats(static_cast<size_t>(shape.elements()), seed, range);
  const size_t element_bytes = BytesPerElement(dtype);
  weights.bytes.resize(values.size() * element_bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    std::byte* element = weights.bytes.data() + i * element_bytes;
    const uint16_t half = dtype == DType::kF16 ? F16FromF32(values[i]) : BF16FromF32(values[i]);
    std::memcpy(element, dtype == DType::kF32 ? static_cast<const void*>(&values[i]) : &half,
                element_bytes);
  }
  weights.view = {dtype, shape, weights.bytes.data()};
  return weights;
}

inline Matrix AsMatrix(std::vector<float>& values, int64_t rows, int64_t columns) {
  return {values.data(), rows, columns, columns};
}

inline std::vector<float> Magnitudes(std::vector<float> values) {
  for (float& v : values) v = std::fabs(v);
  return values;
}

// |actual - expected| <= bound, element by element; names the first element that fails.
inline void ExpectWithin(std::span<const float> actual, std::span<const float> expected,
                         std::span<const double> bounds) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::fabs(double{actual[i]} - double{expected[i]});
    ASSERT_LE(error, bounds[i]) << "element " << i << ": " << actual[i] << ", reference "
                                << expected[i];
  }
}

inline void ExpectWithin(std::span<const float> actual, std::span<const float> expected,
                         double bound) {
  ExpectWithin(actual, expected, std::vector<double>(actual.size(), bound));
}

inline void OnEveryTarget(const std::function<void()>& body) {
  const int64_t supported = hwy::SupportedTargets();
  const int64_t fallback = HWY_SCALAR | HWY_EMU128;
  for (const int64_t target : {int64_t{HWY_AVX3}, int64_t{HWY_AVX2}, int64_t{HWY_NEON}, fallback}) {
    if ((target & (supported | fallback)) == 0) continue;
    SCOPED_TRACE(target == fallback ? "fallback" : hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().DeInit();  // the next call chooses again
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
}

}  // namespace npumoe::testing
