#include "graph/weights/palette.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/dtype.h"

namespace npumoe {
namespace {

// A histogram of the normal distribution: every fp16 number as often as its share of 10^12.
Fp16Histogram NormalHistogram(double sigma) {
  Fp16Histogram histogram;
  for (int magnitude = 0; magnitude < 0x7c00; ++magnitude) {
    const double value = F32FromF16(static_cast<uint16_t>(magnitude));
    const double next = F32FromF16(static_cast<uint16_t>(std::min(magnitude + 1, 0x7bff)));
    const double share =
        (std::erf(next / sigma / std::sqrt(2.0)) - std::erf(value / sigma / std::sqrt(2.0))) / 2;
    const auto count = static_cast<uint64_t>(1e12 * share + 0.5);
    histogram.Add(static_cast<uint16_t>(magnitude), count);
    histogram.Add(static_cast<uint16_t>(magnitude | 0x8000), count);
  }
  return histogram;
}

// Mean square of the difference, over the mean square.
double Distortion(const Fp16Histogram& histogram, const Palette& palette) {
  double squares = 0, differences = 0;
  for (size_t bits = 0; bits < 65536; ++bits) {
    const auto count = static_cast<double>(histogram.counts()[bits]);
    if (count == 0) continue;
    const double value = F32FromF16(static_cast<uint16_t>(bits));
    const double entry = F32FromF16(palette.table[palette.index_of_bits[bits]]);
    squares += count * value * value;
    differences += count * (value - entry) * (value - entry);
  }
  return differences / squares;
}

// The optimal quantiser of a normal distribution, Lloyd's conditions solved numerically (scipy):
// distortion over variance. The histogram is the distribution to within fp16's steps.
constexpr double kOptimal16 = 0.0095010;
constexpr double kOptimal64 = 0.00064424;

TEST(Palette, IsOptimalForNormalValues) {
  for (const double sigma : {0.02, 1.0}) {
    const Fp16Histogram histogram = NormalHistogram(sigma);
    EXPECT_NEAR(Distortion(histogram, FindPalette(histogram, 16)), kOptimal16, 0.01 * kOptimal16);
    EXPECT_NEAR(Distortion(histogram, FindPalette(histogram, 64)), kOptimal64, 0.01 * kOptimal64);
  }
}

TEST(Palette, HasAnAscendingTableAndTheNearestEntryOfEveryValue) {
  const Fp16Histogram histogram = NormalHistogram(0.5);
  const Palette palette = FindPalette(histogram, 64);
  for (size_t k = 1; k < palette.table.size(); ++k) {
    EXPECT_LE(F32FromF16(palette.table[k - 1]), F32FromF16(palette.table[k]));
  }
  for (size_t bits = 0; bits < 65536; ++bits) {
    if (histogram.counts()[bits] == 0) continue;
    const float value = F32FromF16(static_cast<uint16_t>(bits));
    float nearest = INFINITY;
    for (const uint16_t entry : palette.table) {
      nearest = std::min(nearest, std::abs(F32FromF16(entry) - value));
    }
    const float own = F32FromF16(palette.table[palette.index_of_bits[bits]]);
    ASSERT_EQ(std::abs(own - value), nearest) << value;
  }
}

TEST(Palette, KeepsFewValuesExactly) {
  Fp16Histogram histogram;
  for (const float value : {-65504.0f, -0.25f, 0.0f, 3.0f}) histogram.Add(F16FromF32(value));
  const Palette palette = FindPalette(histogram, 16);
  for (const float value : {-65504.0f, -0.25f, 0.0f, 3.0f}) {
    const uint16_t bits = F16FromF32(value);
    EXPECT_EQ(F32FromF16(palette.table[palette.index_of_bits[bits]]), value);
  }
}

// One value far from all others must not cost those their entries.
TEST(Palette, KeepsItsPrecisionBesideAnOutlier) {
  Fp16Histogram histogram = NormalHistogram(0.02);
  const double before = Distortion(histogram, FindPalette(histogram, 64));
  histogram.Add(F16FromF32(1.0f));  // 50 standard deviations
  EXPECT_LT(Distortion(histogram, FindPalette(histogram, 64)), 1.2 * before);
}

}  // namespace
}  // namespace npumoe
