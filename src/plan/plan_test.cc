#include "plan/plan.h"

#include <gtest/gtest.h>

#include <functional>

#include "plan/sample_plan.h"

namespace npumoe {
namespace {

ModelConfig SampleConfig() {
  ModelConfig config;
  config.hidden_size = 6;
  config.num_layers = 4;
  config.moe.num_experts = 8;
  config.moe.experts_per_token = 2;
  config.moe.expert_intermediate_size = 4;
  config.moe.shared_intermediate_size = 10;
  config.moe.activation_limit = 7.5f;
  config.is_moe_layer = {true, false, true, true};
  return config;
}

ChipProfile SampleProfile() {
  ChipProfile profile;
  profile.name = "m2-max";
  profile.hash = "profile-hash";
  profile.limits.capacity_quantum = 16;
  profile.limits.max_axis = 16384;
  return profile;
}

std::string FitError(const std::function<void(Plan&)>& change) {
  Plan plan = SamplePlan();
  change(plan);
  const Status status = CheckPlanFits(plan, SampleConfig(), "model-hash", SampleProfile());
  return status.ok() ? "fits" : status.message();
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(Plan, CountsProgramsAndRows) {
  const Plan plan = SamplePlan();
  EXPECT_EQ(plan.ProgramCount(), 3);
  EXPECT_EQ(plan.layers[0].programs[0].CapacityRows(), 112);
}

TEST(Plan, ReadsBackTheNamesOfItsChoices) {
  EXPECT_EQ(AllStrategies().size(), 7u);
  for (const Strategy strategy : AllStrategies()) {
    EXPECT_EQ(ParseStrategy(Name(strategy)).value(), strategy);
  }
  for (const Objective objective : {Objective::kLatency, Objective::kEnergy, Objective::kCpuTime}) {
    EXPECT_EQ(ParseObjective(Name(objective)).value(), objective);
  }
  for (const OverflowMode mode : {OverflowMode::kSpill, OverflowMode::kDrop}) {
    EXPECT_EQ(ParseOverflowMode(Name(mode)).value(), mode);
  }
}

TEST(Plan, ListsTheKnownNamesWhenOneIsUnknown) {
  EXPECT_CONTAINS(ParseStrategy("best").status().message(), "tiers+groups");
  EXPECT_CONTAINS(ParseObjective("speed").status().message(), "latency, energy, cpu-time");
  EXPECT_CONTAINS(ParseOverflowMode("lose").status().message(), "spill, drop");
}

TEST(Plan, HashChangesWithEverythingThatExecutionDependsOn) {
  const std::string hash = SamplePlan().Hash();
  const std::function<void(Plan&)> changes[] = {
      [](Plan& p) { p.strategy = Strategy::kOptimal; },
      [](Plan& p) { p.overflow = OverflowMode::kSpill; },
      [](Plan& p) { p.min_npu_share = 0.31; },
      [](Plan& p) { p.chunk_tokens = 256; },
      [](Plan& p) { p.num_experts = 9; },
      [](Plan& p) { p.model_hash = "other"; },
      [](Plan& p) { p.profile_hash = "other"; },
      [](Plan& p) { p.layers[0].programs[0].experts[0].capacity = 80; },
      [](Plan& p) { p.layers[0].programs[0].experts[0].expert = 4; },
      [](Plan& p) { p.layers[2].layer = 4; },
      [](Plan& p) { p.layers[1].programs[0].form = GraphForm::kDenseChains; },
  };
  for (const auto& change : changes) {
    Plan plan = SamplePlan();
    change(plan);
    EXPECT_NE(plan.Hash(), hash) << &change - changes;
  }
}

TEST(Plan, HashIgnoresPredictionsAndNotes) {
  Plan plan = SamplePlan();
  plan.predicted.time_ms.value = 1;
  plan.notes.clear();
  EXPECT_EQ(plan.Hash(), SamplePlan().Hash());
}

TEST(Plan, FitsTheModelAndProfileItWasMadeFor) {
  EXPECT_EQ(FitError([](Plan&) {}), "fits");
}

TEST(Plan, ForAnotherModelNamesBothAndWhatToDo) {
  const std::string text = FitError([](Plan& p) { p.model_hash = "abc"; });
  EXPECT_CONTAINS(text, "abc");
  EXPECT_CONTAINS(text, "model-hash");
  EXPECT_CONTAINS(text, "npumoe plan");
}

TEST(Plan, ForAnotherProfileNamesBoth) {
  const std::string text = FitError([](Plan& p) { p.profile_name = "m4"; });
  EXPECT_CONTAINS(text, "'m4'");
  EXPECT_CONTAINS(text, "'m2-max'");
}

TEST(Plan, ForAProfileThatHasChangedSaysSo) {
  const std::string text = FitError([](Plan& p) { p.profile_hash = "old"; });
  EXPECT_CONTAINS(text, "has changed");
  EXPECT_CONTAINS(text, "old");
}

TEST(Plan, WithOtherSizesOrLayersDoesNotFit) {
  EXPECT_CONTAINS(FitError([](Plan& p) { p.hidden_size = 7; }), "hidden size 7");
  EXPECT_CONTAINS(FitError([](Plan& p) { p.num_experts = 9; }), "experts 9");
  EXPECT_CONTAINS(FitError([](Plan& p) { p.shared_intermediate_size = 0; }),
                  "shared expert size 0");
  EXPECT_CONTAINS(FitError([](Plan& p) { p.activation_limit = 0; }), "activation limit 0");
  EXPECT_CONTAINS(FitError([](Plan& p) { p.layers.pop_back(); }), "MoE layers");
}

TEST(Plan, WithACapacityBetweenTwoQuantaDoesNotFit) {
  EXPECT_CONTAINS(FitError([](Plan& p) { p.layers[0].programs[0].experts[1].capacity = 50; }),
                  "multiples of 16");
}

TEST(Plan, WithChunksBeyondTheProfilesLongestAxisDoesNotFit) {
  const int64_t longest = SampleProfile().limits.max_axis;
  const auto fit = [&](int64_t tokens) {
    return FitError([&](Plan& p) { p.chunk_tokens = static_cast<int>(tokens); });
  };
  EXPECT_EQ(fit(longest), "fits");
  EXPECT_CONTAINS(fit(longest + 32), "chunk_tokens is " + std::to_string(longest + 32));
}

TEST(Plan, ForAnotherCalibrationNamesBoth) {
  EXPECT_TRUE(CheckPlanCalibration(SamplePlan(), "calibration-hash").ok());
  const Status status = CheckPlanCalibration(SamplePlan(), "other");
  EXPECT_CONTAINS(status.message(), "calibration-hash");
  EXPECT_CONTAINS(status.message(), "other");
}

}  // namespace
}  // namespace npumoe
