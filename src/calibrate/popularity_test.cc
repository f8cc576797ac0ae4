#include "calibrate/popularity.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "calibrate/esft_trace.h"
#include "calibrate/test_traces.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

Calibration MakeCalibration() {
  return *CalibrationFromTrace(MakeRandomTrace({.sequence_tokens = {640, 320}}));
}

TEST(Popularity, SharesAddUpToOne) {
  const std::vector<double> shares = ExpertShares(MakeCalibration(), 0);
  EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1.0, 1e-12);
}

TEST(Popularity, OrdersExpertsAndBreaksTiesByTheSmallerId) {
  EXPECT_EQ(ByPopularity(std::vector{0.2, 0.3, 0.2, 0.3}), (std::vector{1, 3, 0, 2}));
}

TEST(Popularity, SkewOfEqualSharesIsNone) {
  const Skew skew = MeasureSkew(std::vector{0.25, 0.25, 0.25, 0.25});
  EXPECT_DOUBLE_EQ(skew.largest_over_mean, 1);
  EXPECT_NEAR(skew.gini, 0, 1e-12);
  EXPECT_NEAR(skew.effective_experts, 4, 1e-12);
}

TEST(Popularity, SkewOfOneExpertIsTheLargest) {
  const Skew skew = MeasureSkew(std::vector{0.0, 0.0, 1.0, 0.0});
  EXPECT_DOUBLE_EQ(skew.largest_over_mean, 4);
  EXPECT_DOUBLE_EQ(skew.gini, 0.75);
  EXPECT_DOUBLE_EQ(skew.effective_experts, 1);
  EXPECT_EQ(skew.unused_experts, 3);
}

TEST(Popularity, SplitKeepsEveryBlockOnOneSide) {
  const Calibration whole = MakeCalibration();
  const auto parts = SplitCalibration(whole, 0.75);
  ASSERT_TRUE(parts.ok());
  const auto& [first, rest] = *parts;
  EXPECT_EQ(first.blocks.size() + rest.blocks.size(), whole.blocks.size());
  EXPECT_EQ(first.tokens() + rest.tokens(), whole.tokens());
  EXPECT_TRUE(rest.blocks.front().starts_sequence);
  EXPECT_TRUE(ParseCalibration(SerializeCalibration(rest), "rest.json").ok());
}

TEST(Popularity, SplitRefusesAnEmptySide) {
  EXPECT_FALSE(SplitCalibration(MakeCalibration(), 0.0).ok());
  EXPECT_FALSE(SplitCalibration(MakeCalibration(), 1.0).ok());
  EXPECT_FALSE(SplitCalibration(MakeCalibration(), std::nan("")).ok());
}

TEST(Popularity, CoverageGrowsToOneWithTheNumberOfExperts) {
  const auto parts = *SplitCalibration(MakeCalibration(), 0.5);
  double previous = 0;
  for (int top = 1; top <= 8; ++top) {
    const double covered = Coverage(parts.first, parts.second, 0, top);
    EXPECT_GE(covered, previous);
    previous = covered;
  }
  EXPECT_NEAR(previous, 1.0, 1e-12);
}

ChunkLoads ThreeChunks() {
  ChunkLoads loads;
  loads.chunk_tokens = 32;
  loads.num_experts = 2;
  loads.chunks = 3;
  loads.layers = {{4, 28, 10, 22, 20, 12}};
  return loads;
}

TEST(Popularity, MedianCapacityIsTheMiddleLoadRoundedUpToTheQuantum) {
  EXPECT_EQ(QuantileCapacities(ThreeChunks(), 0, 0.5, 8), (std::vector<int64_t>{16, 24}));
  EXPECT_EQ(QuantileCapacities(ThreeChunks(), 0, 1.0, 1), (std::vector<int64_t>{20, 28}));
}

TEST(Popularity, TierIsTheSmallestThatHoldsTheMeanLoad) {
  // Mean load 16; tiers 8, 16, 32; mean loads of the experts 11.3 and 20.7.
  EXPECT_EQ(TierCapacities(ThreeChunks(), 0, std::vector{0.5, 1.0, 2.0}, 8),
            (std::vector<int64_t>{16, 32}));
}

TEST(Popularity, FitCountsPaddingAndOverflow) {
  const CapacityFit fit = FitCapacities(ThreeChunks(), 0, std::vector<int64_t>{10, 24});
  EXPECT_EQ(fit.capacity_rows, 102);
  EXPECT_EQ(fit.assignments, 96);
  EXPECT_EQ(fit.overflow, 10 + 4);
  EXPECT_EQ(fit.padding(), 6 + 2 + 12);
}

// The records of a real model, unpacked beside the test; skipped where they are absent.
class RealRouting : public testing::Test {
 protected:
  void SetUp() override {
    const fs::path packed =
        NPUMOE_SOURCE_DIR "/../shared/data/routing/deepseek-v2-lite-esft/intent";
    if (!fs::exists(packed)) {
      const char* ci = std::getenv("CI");
      if (ci != nullptr && std::string(ci) == "true") FAIL() << packed << " is missing";
      GTEST_SKIP() << packed << " is not here";
    }
    folder_ = fs::path(testing::TempDir()) / "npumoe_popularity_intent";
    fs::create_directories(folder_);
    const std::string command = "for f in '" + packed.string() + "'/*.xz; do xz -dc \"$f\" > '" +
                                folder_.string() + "'/$(basename \"$f\" .xz) || exit 1; done";
    ASSERT_EQ(std::system(command.c_str()), 0) << "xz is needed to unpack the records";
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  fs::path folder_;
};

TEST_F(RealRouting, WastesLessWithACapacityPerExpertThanWithThreeTiers) {
  const Result<RoutingTrace> trace = ReadEsftTrace(folder_, 64, 6);
  ASSERT_TRUE(trace.ok()) << trace.status().message();
  const auto parts = *SplitCalibration(*CalibrationFromTrace(*trace), 0.5);
  const ChunkLoads calibrated = *LoadsPerChunk(parts.first, 1024);
  const ChunkLoads replayed = *LoadsPerChunk(parts.second, 1024);
  CapacityFit own;
  CapacityFit tiers;
  for (size_t layer = 0; layer < calibrated.layers.size(); ++layer) {
    own += FitCapacities(replayed, layer, QuantileCapacities(calibrated, layer, 0.5, 16));
    tiers += FitCapacities(replayed, layer,
                           TierCapacities(calibrated, layer, std::vector{0.5, 1.0, 2.0}, 32));
  }
  RecordProperty("own_padding", std::to_string(own.padding_share()));
  RecordProperty("own_overflow", std::to_string(own.overflow_share()));
  RecordProperty("tier_padding", std::to_string(tiers.padding_share()));
  RecordProperty("tier_overflow", std::to_string(tiers.overflow_share()));
  EXPECT_LT(own.padding_share(), 0.5 * tiers.padding_share());
  EXPECT_LT(own.overflow_share(), tiers.overflow_share());
}

}  // namespace
}  // namespace npumoe
