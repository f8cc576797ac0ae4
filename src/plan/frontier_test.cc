#include "plan/frontier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "calibrate/esft_trace.h"
#include "calibrate/popularity.h"
#include "plan/planning_test_data.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

// DeepSeek-V2-Lite: the model of the routing records.
ModelConfig DeepSeekV2Lite() {
  ModelConfig config = testdata::Qwen3A3b(27);
  config.moe = testdata::Moe({64, 6, 1408});
  return config;
}

class Frontier : public testing::Test {
 protected:
  Result<std::vector<FrontierPoint>> Make(const Calibration& a, const Calibration& b,
                                          const ModelConfig& config, WeightFloor floor) {
    FrontierOptions options;
    options.floor = floor;
    return MakeFrontier(a, b, CostModel(config, testdata::Chip("m2-max"), 2), options);
  }
};

TEST_F(Frontier, ReachesTenPercentPaddingAtTwoPercentSpillOnRealRouting) {
  const fs::path packed = NPUMOE_SOURCE_DIR "/../shared/data/routing/deepseek-v2-lite-esft/intent";
  if (!fs::exists(packed)) {
    const char* ci = std::getenv("CI");
    ASSERT_FALSE(ci != nullptr && std::string(ci) == "true") << packed << " is missing";
    GTEST_SKIP() << packed << " is not here";
  }
  const fs::path folder = fs::path(testing::TempDir()) / "npumoe_frontier";
  fs::remove_all(folder);
  fs::create_directories(folder);
  const std::string command = "for f in '" + packed.string() + "'/*.xz; do xz -dc \"$f\" > '" +
                              folder.string() + "'/$(basename \"$f\" .xz) || exit 1; done";
  ASSERT_EQ(std::system(command.c_str()), 0) << "xz is needed to unpack the records";
  const Result<RoutingTrace> trace = ReadEsftTrace(folder, 64, 6);
  ASSERT_TRUE(trace.ok()) << trace.status().message();
  const auto halves = SplitCalibration(*CalibrationFromTrace(*trace), 0.5);
  ASSERT_TRUE(halves.ok()) << halves.status().message();
  const auto off = Make(halves->first, halves->second, DeepSeekV2Lite(), WeightFloor::kOff);
  const auto on = Make(halves->first, halves->second, DeepSeekV2Lite(), WeightFloor::kOn);
  ASSERT_TRUE(off.ok() && on.ok());
  std::fputs(FormatFrontiers(*off, *on, "m2-max").c_str(), stdout);
  EXPECT_TRUE(std::any_of(off->begin(), off->end(), [](const FrontierPoint& point) {
    return point.padding <= 0.10 && point.spill <= 0.02;
  }));
  fs::remove_all(folder);
}

TEST_F(Frontier, TradesPaddingForSpillAsTheMultiplierRises) {
  const ModelConfig config = testdata::Qwen3A3b(2);
  const PlanInputs inputs =
      testdata::MakeInputs(config, testdata::Chip("m2-max"), {16384, 0.5, 16384, 3});
  const Calibration& calibration = inputs.calibration;
  const auto points = Make(calibration, calibration, config, WeightFloor::kOff);
  ASSERT_TRUE(points.ok());
  for (size_t i = 1; i < points->size(); ++i) {
    EXPECT_GE((*points)[i - 1].capacity_rows, (*points)[i].capacity_rows);
    EXPECT_LE((*points)[i - 1].spill, (*points)[i].spill);
  }
  EXPECT_LT(points->front().spill, 0.01);
  EXPECT_GT(points->back().spill, points->front().spill);
}

TEST_F(Frontier, KeepsMoreRowsWhereTheWeightFloorMakesThemFree) {
  const ModelConfig config = testdata::Qwen3A3b(2);
  const PlanInputs inputs =
      testdata::MakeInputs(config, testdata::Chip("m2-max"), {8192, 0.5, 8192, 3});
  const auto off = Make(inputs.calibration, inputs.calibration, config, WeightFloor::kOff);
  const auto on = Make(inputs.calibration, inputs.calibration, config, WeightFloor::kOn);
  ASSERT_TRUE(off.ok() && on.ok());
  for (size_t i = 0; i < off->size(); ++i) {
    EXPECT_GE((*on)[i].capacity_rows, (*off)[i].capacity_rows);
  }
}

TEST_F(Frontier, RefusesPartsOfDifferentModels) {
  const PlanInputs a = testdata::MakeInputs(testdata::Demo(), testdata::Chip("m2-max"), {2048});
  const PlanInputs b =
      testdata::MakeInputs(testdata::Qwen3A3b(2), testdata::Chip("m2-max"), {2048});
  const auto points = Make(a.calibration, b.calibration, testdata::Demo(), WeightFloor::kOff);
  EXPECT_EQ(points.status().code(), StatusCode::kInvalidInput);
}

}  // namespace
}  // namespace npumoe
