#include "npu/profile_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace npumoe {
namespace {

constexpr double kExpertWeights = 3.0 * 2048 * 768;
constexpr double kFp16Bytes = 2;

RatePoint Point(double rows, double rate) {
  RatePoint point;
  point.rows = rows;
  point.rate.value = rate;
  return point;
}

// A chip whose figures are known.
struct Chip {
  double launch_ms = 0.6;
  std::vector<RatePoint> tflops = {Point(16, 4.5)};
  double stream_gb_per_s = 62;
  double io_gb_per_s = 9.5;

  double TimeMs(const TimedWork& shape) const {
    NpuCosts npu;
    npu.launch_ms.value = launch_ms;
    npu.tflops = tflops;
    npu.stream_gb_per_s.value = stream_gb_per_s;
    npu.io_gb_per_s.value = io_gb_per_s;
    const LaunchWork work{shape.rows, 2 * shape.rows * shape.weights, shape.weight_bytes};
    return ModelLaunch(npu, {&work, shape.weights > 0 ? size_t{1} : size_t{0}}, shape.io_bytes)
        .total_ms();
  }
};

TimedWork Shape(double experts, double rows, double io_bytes, const Chip& chip) {
  TimedWork shape;
  shape.what = std::to_string(experts) + " x " + std::to_string(rows);
  shape.weights = experts * kExpertWeights;
  shape.weight_bytes = shape.weights * kFp16Bytes;
  shape.rows = experts > 0 ? rows : 0;
  shape.io_bytes = io_bytes;
  shape.time_ms = chip.TimeMs(shape);
  return shape;
}

std::vector<TimedWork> Grid(const Chip& chip) {
  std::vector<TimedWork> shapes;
  for (const double rows : {16, 32, 64, 96, 128, 256, 512, 1024}) {
    for (const double experts : {1, 4}) {
      shapes.push_back(Shape(experts, rows, experts * rows * 2048 * 4, chip));
    }
  }
  for (const double megabytes : {0.01, 4.0, 16.0}) {
    shapes.push_back(Shape(0, 0, megabytes * 1e6, chip));
  }
  return shapes;
}

double RateOf(const CostFit& fit, double rows) {
  for (const auto& [at, rate] : fit.gflops) {
    if (at == rows) return rate.value;
  }
  ADD_FAILURE() << "no rate of " << rows << " rows";
  return 0;
}

TEST(FitCosts, FindsTheFiguresThatMadeTheTimes) {
  const Chip chip;
  const auto fit = FitCosts(Grid(chip), Overhead::kFitted);
  ASSERT_TRUE(fit.ok()) << fit.status().message();
  EXPECT_NEAR(fit->overhead_ms.value, chip.launch_ms, 1e-6);
  EXPECT_NEAR(fit->stream_gb_per_s.value, 62, 1e-4);
  EXPECT_NEAR(fit->io_gb_per_s->value, 9.5, 1e-5);
  EXPECT_NEAR(RateOf(*fit, 512), 4500, 0.01);
  // 72 rows take as long as their weights: the rate below is not seen.
  EXPECT_EQ(fit->gflops.front().first, 64);
  EXPECT_LT(fit->worst_error, 1e-6);
}

TEST(FitCosts, FindsRatesThatGrowWithTheRows) {
  Chip chip;
  chip.tflops = {Point(16, 0.07), Point(64, 0.15), Point(512, 0.4)};
  chip.stream_gb_per_s = 1000;
  const auto fit = FitCosts(Grid(chip), Overhead::kFitted);
  ASSERT_TRUE(fit.ok()) << fit.status().message();
  EXPECT_NEAR(RateOf(*fit, 16), 70, 0.01);
  EXPECT_NEAR(RateOf(*fit, 64), 150, 0.01);
  EXPECT_NEAR(RateOf(*fit, 512), 400, 0.01);
  EXPECT_LT(fit->worst_error, 1e-6);
}

TEST(FitCosts, StandsNoiseOfAFewPercentAndOneTimeThatIsFarOff) {
  const Chip chip;
  std::vector<TimedWork> shapes = Grid(chip);
  std::mt19937 random(7);
  std::normal_distribution<double> noise(0, 0.02);
  for (TimedWork& shape : shapes) shape.time_ms *= 1 + noise(random);
  shapes[9].time_ms *= 3;  // 4 experts of 128 rows: somebody else ran
  const auto fit = FitCosts(shapes, Overhead::kFitted);
  ASSERT_TRUE(fit.ok()) << fit.status().message();
  // Four standard deviations of the noise.
  EXPECT_NEAR(fit->overhead_ms.value / chip.launch_ms, 1, 0.08);
  EXPECT_NEAR(fit->stream_gb_per_s.value / 62, 1, 0.08);
  EXPECT_NEAR(fit->io_gb_per_s->value / 9.5, 1, 0.08);
  EXPECT_NEAR(RateOf(*fit, 1024) / 4500, 1, 0.08);
  EXPECT_LT(fit->error, 0.04);
  EXPECT_GT(fit->worst_error, 0.5);
  EXPECT_GE(fit->overhead_ms.spread, fit->error);
}

TEST(FitCosts, OfTheCpuHasNoOverhead) {
  Chip cpu;
  cpu.launch_ms = 0;
  cpu.tflops = {Point(1, 0.02), Point(64, 0.1)};
  cpu.stream_gb_per_s = 12;
  std::vector<TimedWork> shapes;
  for (const double rows : {1, 2, 4, 8, 16, 32, 64, 128}) {
    shapes.push_back(Shape(8, rows, 0, cpu));
  }
  const auto fit = FitCosts(shapes, Overhead::kNone);
  ASSERT_TRUE(fit.ok()) << fit.status().message();
  EXPECT_EQ(fit->overhead_ms.value, 0);
  EXPECT_FALSE(fit->io_gb_per_s.has_value());
  EXPECT_NEAR(fit->stream_gb_per_s.value, 12, 1e-6);
  EXPECT_NEAR(RateOf(*fit, 64), 100, 1e-6);
  EXPECT_LT(fit->worst_error, 1e-6);
}

TEST(FitCosts, SaysWhichFigureTooFewShapesCannotTell) {
  const Chip chip;
  const std::vector<TimedWork> one = {Shape(1, 16, 1e5, chip)};
  const auto few = FitCosts(one, Overhead::kFitted);
  ASSERT_FALSE(few.ok());
  EXPECT_EQ(few.status().code(), StatusCode::kInvalidInput);
  EXPECT_NE(few.status().message().find("1 measured shapes for 3 figures"), std::string::npos)
      << few.status().message();
  // Always one expert: launch and weights cannot be told apart.
  std::vector<TimedWork> same;
  for (int i = 0; i < 4; ++i) same.push_back(Shape(1, 16, 0, chip));
  const auto mixed = FitCosts(same, Overhead::kFitted);
  ASSERT_FALSE(mixed.ok());
  EXPECT_NE(mixed.status().message().find("the rate of 16 rows"), std::string::npos)
      << mixed.status().message();
}

TEST(FitCosts, RefusesATimeThatIsNone) {
  std::vector<TimedWork> shapes = Grid(Chip{});
  shapes[3].time_ms = 0;
  const auto fit = FitCosts(shapes, Overhead::kFitted);
  ASSERT_FALSE(fit.ok());
  EXPECT_NE(fit.status().message().find(shapes[3].what), std::string::npos);
}

TEST(FitCosts, HasNoBandwidthWhereCopiesDoNotShow) {
  Chip chip;
  chip.io_gb_per_s = 1e12;
  std::vector<TimedWork> shapes = Grid(chip);
  shapes.back().time_ms *= 0.99;  // the largest copy a little faster than an empty launch
  shapes[shapes.size() - 2].time_ms *= 0.995;
  const auto fit = FitCosts(shapes, Overhead::kFitted);
  ASSERT_TRUE(fit.ok()) << fit.status().message();
  EXPECT_FALSE(fit->io_gb_per_s.has_value());
  EXPECT_LT(fit->worst_error, 0.02);
}

}  // namespace
}  // namespace npumoe
