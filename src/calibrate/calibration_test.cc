#include "calibrate/calibration.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "calibrate/calibration_builder.h"
#include "calibrate/test_traces.h"

namespace npumoe {
namespace {

Calibration MakeCalibration(uint64_t seed = 1) {
  Calibration calibration = *CalibrationFromTrace(MakeRandomTrace({.seed = seed}));
  calibration.model_hash = "model";
  calibration.tokenizer_hash = "tokenizer";
  calibration.sources = {"a.txt 1234"};
  calibration.layers[0].activation.resize(8);
  calibration.layers[0].activation[3] = {.inner = 70000.5f, .output = 0.1f};
  return calibration;
}

TEST(Calibration, SurvivesWritingAndReading) {
  const Calibration written = MakeCalibration();
  const Result<Calibration> read = ParseCalibration(SerializeCalibration(written), "c.json");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->Hash(), written.Hash());
  EXPECT_EQ(read->layers[1].counts, written.layers[1].counts);
  EXPECT_EQ(read->layers[0].activation[3].inner, 70000.5f);
  EXPECT_EQ(read->layers[0].activation[3].output, 0.1f);
  EXPECT_TRUE(read->layers[1].activation.empty());
  EXPECT_EQ(read->tokens(), 202);
}

TEST(Calibration, HashChangesWithACount) {
  Calibration calibration = MakeCalibration();
  const std::string before = calibration.Hash();
  ++calibration.layers[1].counts[0];
  EXPECT_NE(calibration.Hash(), before);
}

TEST(Calibration, MergedHoldsTheBlocksOfBoth) {
  const Calibration a = MakeCalibration(1);
  const Calibration b = MakeCalibration(2);
  const Result<Calibration> merged = MergeCalibrations(a, b);
  ASSERT_TRUE(merged.ok());
  EXPECT_EQ(merged->tokens(), a.tokens() + b.tokens());
  EXPECT_EQ(merged->sources.size(), 2u);
  EXPECT_EQ(LoadsPerChunk(*merged, 64)->chunks, 4);
  EXPECT_TRUE(ParseCalibration(SerializeCalibration(*merged), "m.json").ok());
}

TEST(Calibration, MergedKeepsTheLargerActivation) {
  const Calibration a = MakeCalibration(1);
  Calibration b = MakeCalibration(2);
  b.layers[0].activation[3] = {.inner = 1.0f, .output = 5.0f};
  const Calibration merged = *MergeCalibrations(a, b);
  EXPECT_EQ(merged.layers[0].activation[3].inner, 70000.5f);
  EXPECT_EQ(merged.layers[0].activation[3].output, 5.0f);
}

TEST(Calibration, OfAnotherModelIsNotMerged) {
  const Calibration a = MakeCalibration();
  Calibration b = MakeCalibration();
  b.model_hash = "other";
  const Status status = MergeCalibrations(a, b).status();
  EXPECT_NE(status.message().find("model is model in one and other"), std::string::npos)
      << status.message();
}

// One change to a valid file, and words that the refusal must hold.
struct Damage {
  const char* what;
  void (*apply)(Json& json);
  const char* words;
};

class DamagedCalibration : public testing::TestWithParam<Damage> {};

TEST_P(DamagedCalibration, IsRefusedWithItsField) {
  Json json = Json::parse(SerializeCalibration(MakeCalibration()));
  GetParam().apply(json);
  const Result<Calibration> read = ParseCalibration(json.dump(), "c.json");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.status().message().rfind("c.json", 0), 0u) << read.status().message();
  EXPECT_NE(read.status().message().find(GetParam().words), std::string::npos)
      << read.status().message();
}

INSTANTIATE_TEST_SUITE_P(
    Damages, DamagedCalibration,
    testing::Values(
        Damage{"Version", [](Json& j) { j["version"] = 2; }, "version"},
        Damage{"Format", [](Json& j) { j["format"] = "plan"; }, "format"},
        Damage{"UnknownField", [](Json& j) { j["extra"] = 1; }, "extra"},
        Damage{"MissingCounts", [](Json& j) { j["layers"][0].erase("counts"); }, "counts"},
        Damage{"NoLayer", [](Json& j) { j["layers"] = Json::array(); }, "layers"},
        Damage{"LayerNoObject", [](Json& j) { j["layers"][0] = 3; }, "layers[0]"},
        Damage{"LayersSwapped", [](Json& j) { std::swap(j["layers"][0], j["layers"][1]); },
               "layer"},
        Damage{"TooManyExperts", [](Json& j) { j["num_experts"] = 1 << 30; }, "num_experts"},
        Damage{"MoreChosenThanThere", [](Json& j) { j["experts_per_token"] = 9; },
               "experts_per_token"},
        Damage{"HugeSequence", [](Json& j) { j["sequences"][0] = int64_t{1} << 39; }, "sequences"},
        Damage{"NegativeSequence", [](Json& j) { j["sequences"][0] = -70; }, "sequences"},
        Damage{"ShorterSequence", [](Json& j) { j["sequences"][0] = 69; }, "counts"},
        Damage{"CountsNoBase64", [](Json& j) { j["layers"][1]["counts"] = "#"; }, "base64"},
        Damage{"CountsTooShort", [](Json& j) { j["layers"][1]["counts"] = "AAAA"; }, "counts"},
        Damage{"MaximumNegative", [](Json& j) { j["layers"][0]["inner_max"][0] = -1; },
               "inner_max"},
        Damage{"MaximaTooFew", [](Json& j) { j["layers"][0]["output_max"] = {1.0}; }, "output_max"},
        Damage{"OtherHash", [](Json& j) { j["model_hash"] = "x"; }, "hash"}),
    [](const auto& test) { return test.param.what; });

TEST(Calibration, RefusesCountsAboveTheTokensOfTheirBlock) {
  Calibration calibration = MakeCalibration();
  calibration.layers[0].counts[0] = 33;
  const Status status = ParseCalibration(SerializeCalibration(calibration), "c.json").status();
  EXPECT_NE(status.message().find("33 of its 32 tokens"), std::string::npos) << status.message();
}

TEST(Calibration, RefusesCountsThatDoNotAddUp) {
  Calibration calibration = MakeCalibration();
  std::vector<uint8_t>& counts = calibration.layers[0].counts;
  *std::min_element(counts.begin(), counts.begin() + 8) += 1;
  const Status status = ParseCalibration(SerializeCalibration(calibration), "c.json").status();
  EXPECT_NE(status.message().find("block 0 adds up to 65"), std::string::npos) << status.message();
}

TEST(Calibration, RefusesEveryTruncation) {
  const std::string text = SerializeCalibration(MakeCalibration());
  for (size_t length = 0; length + 2 < text.size(); length += 13) {
    EXPECT_FALSE(ParseCalibration(std::string_view(text).substr(0, length), "c.json").ok());
  }
}

}  // namespace
}  // namespace npumoe
