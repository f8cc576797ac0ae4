#include "calibrate/drift.h"

#include <gtest/gtest.h>

#include <cmath>

#include "calibrate/test_traces.h"

namespace npumoe {
namespace {

TEST(Drift, DistanceIsTheSumOfSquaredDifferencesOverTheCalibration) {
  EXPECT_DOUBLE_EQ(ChiSquareDistance(std::vector{0.5, 0.5}, std::vector{0.25, 0.75}),
                   0.0625 / 0.25 + 0.0625 / 0.75);
}

TEST(Drift, IsNearTheNoiseLevelOnTheCalibratedText) {
  const RoutingTrace trace = MakeRandomTrace({.sequence_tokens = {4000}});
  DriftMonitor monitor(*CalibrationFromTrace(trace), {.half_life_tokens = 2000});
  ASSERT_TRUE(monitor.Observe(1, trace.layers[0].ids).ok());
  ASSERT_TRUE(monitor.Observe(3, trace.layers[1].ids).ok());
  EXPECT_LT(monitor.MeanDistance(), 3 * monitor.NoiseLevel());
}

TEST(Drift, RisesFarAboveTheNoiseOnOtherRouting) {
  const RoutingTrace trace = MakeRandomTrace({.sequence_tokens = {4000}});
  DriftMonitor monitor(*CalibrationFromTrace(trace), {.half_life_tokens = 2000});
  std::vector<int32_t> mirrored = trace.layers[0].ids;
  for (int32_t& id : mirrored) id = 7 - id;
  ASSERT_TRUE(monitor.Observe(1, mirrored).ok());
  EXPECT_GT(monitor.Distances()[0], 100 * monitor.NoiseLevel());
  EXPECT_EQ(monitor.Distances()[1], 0);
}

TEST(Drift, ForgetsHalfAfterTheHalfLife) {
  const RoutingTrace trace = MakeRandomTrace({.sequence_tokens = {64}});
  const Calibration calibration = *CalibrationFromTrace(trace);
  DriftMonitor monitor(calibration, {.half_life_tokens = 1});
  // Token A then token B: A counts 1/2, B counts 1.
  ASSERT_TRUE(monitor.Observe(1, std::vector<int32_t>{0, 1, 2, 3}).ok());
  DriftMonitor parts(calibration, {.half_life_tokens = 1});
  ASSERT_TRUE(parts.Observe(1, std::vector<int32_t>{0, 1}).ok());
  ASSERT_TRUE(parts.Observe(1, std::vector<int32_t>{2, 3}).ok());
  EXPECT_NEAR(monitor.Distances()[0], parts.Distances()[0], 1e-12);
  EXPECT_NEAR(monitor.NoiseLevel(), 7.0 / ((2 + 1) / 2.0), 1e-12);  // mean over two layers
}

TEST(Drift, HasNoNoiseLevelBeforeAnyObservation) {
  const DriftMonitor monitor(*CalibrationFromTrace(MakeRandomTrace({})), {});
  EXPECT_TRUE(std::isinf(monitor.NoiseLevel()));
  EXPECT_EQ(monitor.MeanDistance(), 0);
}

TEST(Drift, RefusesIdsAndLayersOfAnotherModel) {
  DriftMonitor monitor(*CalibrationFromTrace(MakeRandomTrace({})), {});
  EXPECT_EQ(monitor.Observe(1, std::vector<int32_t>{0, 8}).code(), StatusCode::kInvalidInput);
  EXPECT_EQ(monitor.Observe(2, std::vector<int32_t>{0, 1}).code(), StatusCode::kInvalidInput);
}

}  // namespace
}  // namespace npumoe
