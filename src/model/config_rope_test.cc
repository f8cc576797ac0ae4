#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "model/config_fields.h"

namespace npumoe {
namespace {

constexpr int kHeadDim = 8;
constexpr int kPositions = 256;

Result<RopeConfig> Read(const Json& json, bool long_rope = false) {
  ModelConfig config;
  config.attention.head_dim = kHeadDim;
  config.max_position_embeddings = kPositions;
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, JsonObject::From(json, "config.json"));
  return ReadRope(object, {.theta = 10'000, .long_rope = long_rope}, config);
}

RopeConfig Parsed(const Json& json, bool long_rope = false) {
  const auto rope = Read(json, long_rope);
  EXPECT_TRUE(rope.ok()) << rope.status().message();
  return rope.ok() ? *rope : RopeConfig{};
}

YarnScaling ParsedYarn(Json scaling) {
  scaling["rope_type"] = "yarn";
  const RopeConfig rope = Parsed({{"rope_scaling", scaling}});
  const auto* yarn = std::get_if<YarnScaling>(&rope.scaling);
  EXPECT_NE(yarn, nullptr);
  return yarn == nullptr ? YarnScaling{} : *yarn;
}

std::string Refusal(const Json& json, bool long_rope = false) {
  const auto rope = Read(json, long_rope);
  return rope.ok() ? "accepted" : rope.status().message();
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

Json LongRope() {
  return Json{{"type", "longrope"},          {"short_factor", {1.0, 1.1, 1.2, 1.3}},
              {"long_factor", {1, 2, 4, 8}}, {"short_mscale", 1.25},
              {"long_mscale", 1.5},          {"original_max_position_embeddings", 64}};
}

std::string LongRopeRefusal(const std::string& key, const Json& value) {
  Json scaling = LongRope();
  scaling[key] = value;
  return Refusal({{"rope_scaling", scaling}}, true);
}

TEST(RopeConfig, IsPlainWithTheFamilysBaseWhereNothingIsSaid) {
  for (const Json& json : {Json::object(), Json{{"rope_scaling", nullptr}}}) {
    const RopeConfig rope = Parsed(json);
    EXPECT_EQ(rope.theta, 10'000);
    EXPECT_TRUE(std::holds_alternative<std::monostate>(rope.scaling));
  }
}

TEST(RopeConfig, ReadsTheBaseInBothStyles) {
  EXPECT_EQ(Parsed({{"rope_theta", 5e5}}).theta, 5e5);
  const Json parameters = {{"rope_theta", 5e5}, {"rope_type", "default"}};
  EXPECT_EQ(Parsed({{"rope_parameters", parameters}}).theta, 5e5);
  EXPECT_EQ(Parsed({{"rope_theta", 5e5}, {"rope_parameters", parameters}}).theta, 5e5);
  EXPECT_EQ(Parsed({{"rope_scaling", {{"type", "default"}}}, {"rope_theta", 2e4}}).theta, 2e4);
}

TEST(RopeConfig, RefusesTwoBasesThatDiffer) {
  const std::string text =
      Refusal({{"rope_theta", 2e4}, {"rope_parameters", {{"rope_theta", 3e4}}}});
  EXPECT_CONTAINS(text, "rope_theta");
  EXPECT_CONTAINS(text, "20000");
  EXPECT_CONTAINS(text, "30000");
}

TEST(RopeConfig, RefusesTwoScalingsThatDiffer) {
  EXPECT_CONTAINS(Refusal({{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2}}},
                           {"rope_parameters", {{"rope_type", "default"}}}}),
                  "rope_parameters");
}

TEST(RopeConfig, RefusesTwoTypesThatDiffer) {
  EXPECT_CONTAINS(Refusal({{"rope_scaling", {{"rope_type", "default"}, {"type", "yarn"}}}}),
                  "field 'type'");
}

TEST(RopeConfig, RefusesOtherTypesByName) {
  for (const char* type : {"linear", "dynamic", "llama3", "proportional", "longrope"}) {
    const std::string text = Refusal({{"rope_scaling", {{"rope_type", type}}}});
    EXPECT_CONTAINS(text, "rope_scaling: field 'rope_type'");
    EXPECT_CONTAINS(text, type);
  }
}

TEST(RopeConfig, RefusesAScalingThatIsNoObject) {
  EXPECT_CONTAINS(Refusal({{"rope_scaling", 4.0}}), "rope_scaling");
}

TEST(RopeConfig, RefusesFieldsThatItsTypeDoesNotHave) {
  EXPECT_CONTAINS(Refusal({{"rope_parameters", {{"factor", 2.0}}}}), "field 'factor'");
  EXPECT_CONTAINS(Refusal({{"rope_scaling",
                            {{"rope_type", "yarn"}, {"factor", 2.0}, {"low_freq_factor", 1.0}}}}),
                  "field 'low_freq_factor'");
  EXPECT_CONTAINS(Refusal({{"rope_parameters", {{"partial_rotary_factor", 0.5}}}}),
                  "field 'partial_rotary_factor'");
}

TEST(RopeConfig, ReadsYarnWithTheDefaultsOfTheReference) {
  const YarnScaling yarn = ParsedYarn({{"factor", 4.0}, {"original_max_position_embeddings", 64}});
  EXPECT_EQ(yarn.factor, 4);
  EXPECT_EQ(yarn.original_max_positions, 64);
  EXPECT_EQ(yarn.beta_fast, 32);
  EXPECT_EQ(yarn.beta_slow, 1);
  EXPECT_TRUE(yarn.truncate);
  EXPECT_FLOAT_EQ(yarn.attention_factor, static_cast<float>(0.1 * std::log(4.0) + 1));
}

TEST(RopeConfig, ReadsEveryFieldOfYarn) {
  const YarnScaling yarn = ParsedYarn({{"factor", 8},
                                       {"original_max_position_embeddings", 32},
                                       {"beta_fast", 16},
                                       {"beta_slow", 2.5},
                                       {"attention_factor", 1.75},
                                       {"truncate", false}});
  EXPECT_EQ(yarn.factor, 8);
  EXPECT_EQ(yarn.beta_fast, 16);
  EXPECT_EQ(yarn.beta_slow, 2.5);
  EXPECT_FALSE(yarn.truncate);
  EXPECT_EQ(yarn.attention_factor, 1.75f);
}

TEST(RopeConfig, MakesTheAttentionFactorOfYarnOfBothMultipliers) {
  EXPECT_EQ(
      ParsedYarn({{"factor", 40}, {"mscale", 0.707}, {"mscale_all_dim", 0.707}}).attention_factor,
      1.0f);
  const double log = 0.1 * std::log(40.0);
  EXPECT_FLOAT_EQ(
      ParsedYarn({{"factor", 40}, {"mscale", 1.0}, {"mscale_all_dim", 0.5}}).attention_factor,
      static_cast<float>((log + 1) / (0.5 * log + 1)));
  // One of them alone counts for nothing, as in the reference.
  EXPECT_FLOAT_EQ(ParsedYarn({{"factor", 40}, {"mscale", 0.707}}).attention_factor,
                  static_cast<float>(log + 1));
}

TEST(RopeConfig, TakesWhatYarnDoesNotSayFromTheContextLengths) {
  EXPECT_EQ(ParsedYarn({{"factor", 4}}).original_max_positions, kPositions);
  EXPECT_EQ(ParsedYarn({{"original_max_position_embeddings", 64}}).factor, 4);
}

TEST(RopeConfig, RefusesTwoOriginalLengthsThatDiffer) {
  EXPECT_CONTAINS(
      Refusal({{"original_max_position_embeddings", 32},
               {"rope_scaling",
                {{"rope_type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 64}}}}),
      "original_max_position_embeddings");
}

TEST(RopeConfig, RefusesYarnWithNumbersOutOfRange) {
  const auto refusal = [](const std::string& key, const Json& value) {
    return Refusal({{"rope_scaling", {{"rope_type", "yarn"}, {key, value}}}});
  };
  EXPECT_CONTAINS(refusal("factor", 0.5), "0.5");
  EXPECT_CONTAINS(refusal("factor", 1e9), "factor");
  EXPECT_CONTAINS(refusal("factor", "4"), "factor");
  EXPECT_CONTAINS(refusal("beta_fast", -1), "beta_fast");
  EXPECT_CONTAINS(refusal("attention_factor", 0), "attention_factor");
  EXPECT_CONTAINS(refusal("original_max_position_embeddings", 0), "original_max");
  EXPECT_CONTAINS(refusal("truncate", 1), "truncate");
  EXPECT_CONTAINS(Refusal({{"rope_theta", 1}, {"rope_scaling", {{"rope_type", "yarn"}}}}),
                  "rope_theta");
}

TEST(RopeConfig, ReadsEveryFieldOfLongRope) {
  const RopeConfig rope = Parsed({{"rope_scaling", LongRope()}}, true);
  const auto* scaling = std::get_if<LongRopeScaling>(&rope.scaling);
  ASSERT_NE(scaling, nullptr);
  EXPECT_EQ(scaling->short_factors, (std::vector<double>{1.0, 1.1, 1.2, 1.3}));
  EXPECT_EQ(scaling->long_factors, (std::vector<double>{1, 2, 4, 8}));
  EXPECT_EQ(scaling->original_max_positions, 64);
  EXPECT_EQ(scaling->short_attention_factor, 1.25f);
  EXPECT_EQ(scaling->long_attention_factor, 1.5f);
}

TEST(RopeConfig, DerivesTheAttentionFactorOfLongRopeFromTheContextLengths) {
  Json scaling = LongRope();
  scaling.erase("short_mscale");
  scaling.erase("long_mscale");
  scaling.erase("original_max_position_embeddings");
  const RopeConfig rope =
      Parsed({{"rope_scaling", scaling}, {"original_max_position_embeddings", 64}}, true);
  const auto& read = std::get<LongRopeScaling>(rope.scaling);
  const auto factor = static_cast<float>(std::sqrt(1 + std::log(4.0) / std::log(64.0)));
  EXPECT_FLOAT_EQ(read.short_attention_factor, factor);
  EXPECT_FLOAT_EQ(read.long_attention_factor, factor);
}

TEST(RopeConfig, RefusesLongRopeWithListsThatDoNotFit) {
  EXPECT_CONTAINS(LongRopeRefusal("short_factor", Json{1.0, 1.0, 1.0}), "short_factor");
  EXPECT_CONTAINS(LongRopeRefusal("long_factor", Json{1.0, 1.0, 1.0, 1.0, 1.0}), "4 rotary");
  EXPECT_CONTAINS(LongRopeRefusal("long_factor", Json{1.0, 0.0, 1.0, 1.0}), "long_factor");
  EXPECT_CONTAINS(LongRopeRefusal("long_factor", Json{1.0, "2", 1.0, 1.0}), "long_factor");
  EXPECT_CONTAINS(LongRopeRefusal("long_factor", nullptr), "long_factor");
  EXPECT_CONTAINS(LongRopeRefusal("short_mscale", -1), "short_mscale");
  EXPECT_CONTAINS(LongRopeRefusal("beta_fast", 32), "beta_fast");
}

}  // namespace
}  // namespace npumoe
