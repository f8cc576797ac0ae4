#include "calibrate/calibration_builder.h"

#include <gtest/gtest.h>

#include <limits>

#include "calibrate/test_traces.h"

namespace npumoe {
namespace {

CalibrationBuilder MakeBuilder() {
  Result<CalibrationBuilder> builder = CalibrationBuilder::Create({.model_hash = "m",
                                                                   .tokenizer_hash = "t",
                                                                   .num_experts = 8,
                                                                   .experts_per_token = 2,
                                                                   .layers = {1, 3}});
  EXPECT_TRUE(builder.ok());
  return std::move(builder).value();
}

TEST(CalibrationBuilder, CountsTheSameInAnyChunking) {
  const RoutingTrace trace = MakeRandomTrace({});
  const std::string whole = CalibrationFromTrace(trace)->Hash();
  Result<CalibrationBuilder> builder = CalibrationBuilder::Create({.model_hash = "",
                                                                   .tokenizer_hash = "",
                                                                   .num_experts = 8,
                                                                   .experts_per_token = 2,
                                                                   .layers = {1, 3}});
  ASSERT_TRUE(builder.ok());
  for (size_t s = 0; s < trace.sequence_starts.size(); ++s) {
    const auto [begin, end] = trace.Sequence(s);
    ASSERT_TRUE(builder->BeginSequence().ok());
    for (int64_t t = begin; t < end; t += 7) {
      const int64_t tokens = std::min<int64_t>(7, end - t);
      for (const LayerRouting& layer : trace.layers) {
        ASSERT_TRUE(builder
                        ->AddRouting(layer.layer,
                                     std::span(layer.ids).subspan(static_cast<size_t>(t * 2),
                                                                  static_cast<size_t>(tokens * 2)))
                        .ok());
      }
    }
  }
  EXPECT_EQ(builder->Finish()->Hash(), whole);
}

TEST(CalibrationBuilder, CutsSequencesIntoBlocksOf32AndARest) {
  const Calibration calibration = *CalibrationFromTrace(MakeRandomTrace({}));
  std::vector<int> tokens;
  std::vector<bool> starts;
  for (const CalibrationBlock& block : calibration.blocks) {
    tokens.push_back(block.tokens);
    starts.push_back(block.starts_sequence);
  }
  EXPECT_EQ(tokens, (std::vector<int>{32, 32, 6, 32, 32, 32, 32, 4}));
  EXPECT_EQ(starts, (std::vector<bool>{true, false, false, true, true, false, false, false}));
}

TEST(CalibrationBuilder, KeepsTheLargestActivationOfAnExpert) {
  CalibrationBuilder builder = MakeBuilder();
  const std::vector<int32_t> ids = {0, 1};
  for (int layer : {1, 3}) ASSERT_TRUE(builder.AddRouting(layer, ids).ok());
  ASSERT_TRUE(builder.AddActivation(3, 5, 2.0f, 30.0f).ok());
  ASSERT_TRUE(builder.AddActivation(3, 5, 4.0f, 10.0f).ok());
  const Calibration calibration = *builder.Finish();
  EXPECT_TRUE(calibration.layers[0].activation.empty());
  EXPECT_EQ(calibration.layers[1].activation[5].inner, 4.0f);
  EXPECT_EQ(calibration.layers[1].activation[5].output, 30.0f);
}

TEST(CalibrationBuilder, KeepsTheSharedExpertsActivationBehindTheOthers) {
  auto builder = CalibrationBuilder::Create({.model_hash = "m",
                                             .tokenizer_hash = "",
                                             .num_experts = 8,
                                             .experts_per_token = 2,
                                             .shared_experts = 1,
                                             .layers = {1}});
  ASSERT_TRUE(builder.ok()) << builder.status().message();
  ASSERT_TRUE(builder->AddRouting(1, std::vector<int32_t>{0, 1}).ok());
  ASSERT_TRUE(builder->AddActivation(1, 8, 2.0f, 3.0f).ok());
  EXPECT_FALSE(builder->AddActivation(1, 9, 2.0f, 3.0f).ok());
  const Calibration calibration = *builder->Finish();
  EXPECT_EQ(calibration.layers[0].activation.size(), 9u);
  EXPECT_EQ(calibration.layers[0].activation[8].output, 3.0f);
  const auto read = ParseCalibration(SerializeCalibration(calibration), "c");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->Hash(), calibration.Hash());
  EXPECT_EQ(read->layers[0].activation[8].output, 3.0f);
}

TEST(CalibrationBuilder, TakesNanAndInfinityAsTheLargestFloat) {
  CalibrationBuilder builder = MakeBuilder();
  const std::vector<int32_t> ids = {0, 1};
  for (int layer : {1, 3}) ASSERT_TRUE(builder.AddRouting(layer, ids).ok());
  ASSERT_TRUE(builder
                  .AddActivation(1, 0, std::numeric_limits<float>::quiet_NaN(),
                                 std::numeric_limits<float>::infinity())
                  .ok());
  const Calibration calibration = *builder.Finish();
  EXPECT_EQ(calibration.layers[0].activation[0].inner, std::numeric_limits<float>::max());
  EXPECT_EQ(calibration.layers[0].activation[0].output, std::numeric_limits<float>::max());
}

TEST(CalibrationBuilder, RefusesLayersThatSawDifferentTokens) {
  CalibrationBuilder builder = MakeBuilder();
  const std::vector<int32_t> ids = {0, 1};
  ASSERT_TRUE(builder.AddRouting(1, ids).ok());
  const Status status = builder.BeginSequence();
  EXPECT_NE(status.message().find("layer 3 saw 0 tokens of a sequence, layer 1 saw 1"),
            std::string::npos)
      << status.message();
}

TEST(CalibrationBuilder, RefusesALayerItWasNotMadeFor) {
  CalibrationBuilder builder = MakeBuilder();
  const std::vector<int32_t> ids = {0, 1};
  EXPECT_EQ(builder.AddRouting(2, ids).code(), StatusCode::kInvalidInput);
}

TEST(CalibrationBuilder, RefusesToFinishWithoutAToken) {
  CalibrationBuilder builder = MakeBuilder();
  EXPECT_EQ(builder.Finish().status().code(), StatusCode::kInvalidInput);
}

TEST(CalibrationBuilder, RefusesAModelWithoutMoeLayers) {
  EXPECT_FALSE(CalibrationBuilder::Create({.model_hash = "m",
                                           .tokenizer_hash = "",
                                           .num_experts = 8,
                                           .experts_per_token = 2,
                                           .shared_experts = 0,
                                           .layers = {}})
                   .ok());
}

}  // namespace
}  // namespace npumoe
