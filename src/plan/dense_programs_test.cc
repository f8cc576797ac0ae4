// Attention and the vocabulary head as programs: which history lengths, where they fit, whether
// they pay, what files and the simulator make of them.
#include "plan/dense_programs.h"

#include <gtest/gtest.h>

#include "plan/dense_costs.h"
#include "plan/planning_test_data.h"
#include "plan/simulator.h"

namespace npumoe {
namespace {

using testdata::Chip;
using testdata::MakeInputs;
using Lengths = std::vector<int64_t>;

NpuLimits WideLimits() {
  NpuLimits limits;
  limits.max_axis = limits.max_channels = 16384;
  return limits;
}

TEST(HistoryLengths, DoubleUpToWhatTheLastChunkNeeds) {
  const ModelConfig config = testdata::Demo();
  EXPECT_EQ(HistoryLengths(config, WideLimits(), 512, 512), Lengths({0}));
  EXPECT_EQ(HistoryLengths(config, WideLimits(), 512, 513), Lengths({0, 512}));
  EXPECT_EQ(HistoryLengths(config, WideLimits(), 512, 3500), Lengths({0, 512, 1024, 2048, 3072}));
}

TEST(HistoryLengths, EndAtTheWindowWhereAllLayersHaveOne) {
  ModelConfig config = testdata::Demo();
  config.attention.window_tokens = 100;
  EXPECT_EQ(HistoryLengths(config, WideLimits(), 64, 4096), Lengths({0, 64, 128}));
  config.attention.layer_has_window.assign(static_cast<size_t>(config.num_layers), true);
  config.attention.layer_has_window.back() = false;
  EXPECT_EQ(HistoryLengths(config, WideLimits(), 64, 512), Lengths({0, 64, 128, 256, 448}));
}

TEST(HistoryLengths, KeepToTheAxesOfTheChip) {
  NpuLimits limits = WideLimits();
  limits.max_channels = 1000;
  EXPECT_EQ(HistoryLengths(testdata::Demo(), limits, 256, 8192), Lengths({0, 256, 512, 736}));
}

TEST(AttentionPlan, ServesAHistoryWithTheShortestThatHoldsIt) {
  const AttentionPlan plan{{0, 2}, {0, 64, 256}};
  EXPECT_TRUE(plan.Has(2));
  EXPECT_FALSE(plan.Has(1));
  EXPECT_EQ(plan.FunctionFor(0), 0u);
  EXPECT_EQ(plan.FunctionFor(1), 1u);
  EXPECT_EQ(plan.FunctionFor(256), 2u);
  EXPECT_EQ(plan.FunctionFor(257), std::nullopt);
}

TEST(HeadPlan, ServesRowsWithTheFewestThatHoldThemElseWithTheMost) {
  const HeadPlan plan{{16, 64}, 100};
  EXPECT_EQ(plan.FunctionFor(1), 0u);
  EXPECT_EQ(plan.FunctionFor(17), 1u);
  EXPECT_EQ(plan.FunctionFor(1000), 1u);
}

class DensePrograms : public testing::Test {
 protected:
  DensePrograms() : inputs_(MakeInputs(testdata::Demo(), Chip("m2-max"), {4096, 0.7, 1024, 3})) {
    options_.prompt_tokens = 1280;
    options_.chunk_candidates = {256};
    options_.min_npu_share = 0.9;
  }
  Plan Make() {
    Result<Plan> plan = MakePlan(inputs_, options_);
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    return plan.ok() ? *std::move(plan) : Plan{};
  }

  PlanInputs inputs_;
  PlanOptions options_;
};

TEST_F(DensePrograms, AreThereWhenAskedFor) {
  options_.attention = options_.head = NpuUse::kAlways;
  const Plan plan = Make();
  EXPECT_EQ(plan.attention.layers, std::vector<int>({0, 1, 2, 3}));
  EXPECT_EQ(plan.attention.history_tokens, Lengths({0, 256, 512, 1024}));
  EXPECT_EQ(plan.head.rows, Lengths({16, 256}));
  options_.attention = options_.head = NpuUse::kNever;
  const Plan without = Make();
  EXPECT_TRUE(without.attention.layers.empty() && without.head.rows.empty());
  EXPECT_EQ(plan.FunctionCount(), without.FunctionCount() + 4 * 4 + 2);
  EXPECT_EQ(plan.ProgramCount(), without.ProgramCount() + 4 + 1);
  EXPECT_EQ(plan.predicted.launches, without.predicted.launches + 5 * 4 + 1);  // chunks, layers
  EXPECT_LT(plan.predicted.cpu_busy_ms.value, without.predicted.cpu_busy_ms.value);
}

TEST_F(DensePrograms, AreNeverPredictedWorseWhereThePlannerChooses) {
  for (const Objective objective : {Objective::kLatency, Objective::kEnergy, Objective::kCpuTime}) {
    options_.objective = objective;
    options_.attention = options_.head = NpuUse::kAuto;
    const double chosen = ObjectiveValue(objective, Make().predicted);
    for (const NpuUse attention : {NpuUse::kNever, NpuUse::kAlways}) {
      for (const NpuUse head : {NpuUse::kNever, NpuUse::kAlways}) {
        options_.attention = attention;
        options_.head = head;
        EXPECT_LE(chosen, ObjectiveValue(objective, Make().predicted) * (1 + 1e-9))
            << Name(objective);
      }
    }
  }
}

TEST_F(DensePrograms, TakeThePlacesThatExpertsLeave) {
  options_.attention = NpuUse::kAlways;
  options_.head = NpuUse::kNever;
  const int64_t experts = [&] {
    PlanOptions without = options_;
    without.attention = NpuUse::kNever;
    return MakePlan(inputs_, without)->FunctionCount();
  }();
  inputs_.profile.limits.max_programs = experts + 7;
  const Plan plan = Make();
  // Seven places: two history lengths for three of the four layers.
  EXPECT_EQ(plan.attention.history_tokens, Lengths({0, 1024}));
  EXPECT_EQ(plan.attention.layers, std::vector<int>({0, 1, 2}));
  EXPECT_LE(plan.FunctionCount(), inputs_.profile.limits.max_programs);
  ASSERT_FALSE(plan.notes.empty());
  EXPECT_NE(plan.notes.back().find("attention of 3 of 4 layers"), std::string::npos)
      << plan.notes.back();
  inputs_.profile.limits.max_programs = experts + 1;
  EXPECT_EQ(MakePlan(inputs_, options_).status().code(), StatusCode::kUnsupported);
}

TEST_F(DensePrograms, OfLatentAttentionHoldItsMatricesAndMoveItsLatents) {
  AttentionConfig& attention = inputs_.config.attention;
  const LatentAttention latent{24, 32, 24, 16, 20};
  attention.latent = latent;
  attention.num_kv_heads = attention.num_heads;
  attention.head_dim = latent.nope_head_dim + latent.rope_head_dim;
  attention.qk_norm = QkNorm::kNone;
  options_.attention = NpuUse::kAlways;
  EXPECT_EQ(Make().attention.layers.size(), 4u);
  const int64_t hidden = inputs_.config.hidden_size, heads = attention.num_heads;
  const int64_t weights = hidden * 24 + 24 * heads * 40 + hidden * (32 + 16) +
                          32 * heads * (24 + 20) + heads * 20 * hidden;
  EXPECT_EQ(AttentionWeightBytes(CostModel(inputs_.config, inputs_.profile, 2)), 2 * weights);
  // x and y, cos and sin, the mask, latents in and out.
  EXPECT_EQ(AttentionIoBytes(inputs_.config, 64, 96),
            2 * (2 * hidden * 64 + 2 * 16 * 64 + 160 * 64 + 160 * 48));
}

// DeepSeek-V2's 128 heads of 192 channels.
TEST_F(DensePrograms, OfMoreChannelsThanTheChipTakesAreRefusedWhenAskedForAndLeftOutElse) {
  AttentionConfig& attention = inputs_.config.attention;
  attention.latent = LatentAttention{1536, 512, 128, 64, 128};
  attention.num_heads = attention.num_kv_heads = 128;
  attention.head_dim = 192;
  attention.qk_norm = QkNorm::kNone;
  options_.attention = NpuUse::kAlways;
  const Status refused = MakePlan(inputs_, options_).status();
  EXPECT_EQ(refused.code(), StatusCode::kUnsupported);
  EXPECT_NE(refused.message().find("a matrix of 24576 channels is CPU work; the chip takes 16384"),
            std::string::npos)
      << refused.message();
  options_.attention = NpuUse::kAuto;
  EXPECT_TRUE(Make().attention.layers.empty());
}

TEST_F(DensePrograms, OfLatentAttentionThatNoModelHasAreRefusedWhenAskedForAndLeftOutElse) {
  inputs_.config.attention.latent = LatentAttention{0, 32, 16, 16, 32};
  inputs_.config.attention.has_sinks = true;
  options_.attention = NpuUse::kAlways;
  const Status refused = MakePlan(inputs_, options_).status();
  EXPECT_EQ(refused.code(), StatusCode::kUnsupported);
  EXPECT_NE(refused.message().find("latent attention"), std::string::npos) << refused.message();
  options_.attention = NpuUse::kAuto;
  EXPECT_TRUE(Make().attention.layers.empty());
}

TEST_F(DensePrograms, ContradictTheStrategyCpu) {
  options_.strategy = Strategy::kCpu;
  options_.min_npu_share = 0;
  options_.head = NpuUse::kAlways;
  EXPECT_EQ(MakePlan(inputs_, options_).status().code(), StatusCode::kUsage);
}

TEST_F(DensePrograms, AreReadBackFromThePlanFile) {
  options_.attention = options_.head = NpuUse::kAlways;
  const Plan plan = Make();
  const Result<Plan> read = ParsePlan(SerializePlan(plan), "p");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->attention.layers, plan.attention.layers);
  EXPECT_EQ(read->attention.history_tokens, plan.attention.history_tokens);
  EXPECT_EQ(read->head.rows, plan.head.rows);
  EXPECT_EQ(read->head.slice_entries, plan.head.slice_entries);
  EXPECT_EQ(read->Hash(), plan.Hash());
}

TEST_F(DensePrograms, ThatNoPlannerWritesAreRefusedByName) {
  options_.attention = options_.head = NpuUse::kAlways;
  const std::string text = SerializePlan(Make());
  const auto expect_refused = [&](const std::string& from, const std::string& to,
                                  const std::string& field) {
    std::string changed = text;
    const size_t at = changed.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    const Result<Plan> read = ParsePlan(changed, "plan.json");
    ASSERT_FALSE(read.ok()) << to;
    EXPECT_NE(read.status().message().find(field), std::string::npos) << read.status().message();
  };
  expect_refused("\"layers\": [0,1,2,3]", "\"layers\": [0,2,1]", "layers");
  expect_refused("\"layers\": [0,1,2,3]", "\"layers\": []", "layers");
  expect_refused("\"layers\": [0,1,2,3]", "\"layers\": [-1]", "layers");
  expect_refused("[0,256,512,1024]", "[256,512]", "history_tokens");
  expect_refused("[0,256,512,1024]", "[0,99999999999999999999]", "history_tokens");
  expect_refused("\"rows\": [16,256]", "\"rows\": [0]", "rows");
  expect_refused("\"slice_entries\": ", "\"slice_entries\": -", "slice_entries");
}

TEST_F(DensePrograms, MustFitTheModel) {
  options_.attention = NpuUse::kAlways;
  Plan plan = Make();
  const auto check = [&] {
    return CheckPlanFits(plan, inputs_.config, inputs_.model_hash, inputs_.profile);
  };
  EXPECT_TRUE(check().ok()) << check().message();
  plan.attention.layers.push_back(4);
  EXPECT_NE(check().message().find("attention in layer 4"), std::string::npos) << check().message();
  plan.attention.layers.pop_back();
  inputs_.config.rope.pairs = RopePairs::kInterleaved;
  EXPECT_TRUE(check().ok()) << check().message();
  inputs_.config.attention.latent = LatentAttention{0, 32, 16, 16, 32};
  inputs_.config.attention.has_sinks = true;
  EXPECT_FALSE(check().ok());
}

TEST_F(DensePrograms, CutNoVocabularyIntoThousandsOfSlices) {
  options_.head = NpuUse::kAlways;
  Plan plan = Make();
  plan.head.slice_entries = 1;
  const Status refused = CheckPlanFits(plan, inputs_.config, inputs_.model_hash, inputs_.profile);
  EXPECT_NE(refused.message().find("into slices of 1;"), std::string::npos) << refused.message();
}

TEST_F(DensePrograms, KeepToTheChipsAxesAndQuantum) {
  options_.attention = options_.head = NpuUse::kAlways;
  const Plan plan = Make();
  const auto refusal_of = [&](const Plan& changed) {
    return CheckPlanFits(changed, inputs_.config, inputs_.model_hash, inputs_.profile).message();
  };
  EXPECT_EQ(refusal_of(plan), "");
  Plan long_history = plan;
  long_history.attention.history_tokens.back() = 1 << 20;
  EXPECT_NE(refusal_of(long_history).find("keys"), std::string::npos);
  Plan odd_rows = plan;
  odd_rows.head.rows = {3};
  EXPECT_NE(refusal_of(odd_rows).find("3 rows"), std::string::npos);
  Plan many_rows = plan;
  many_rows.head.rows = {512};
  EXPECT_NE(refusal_of(many_rows).find("512 rows"), std::string::npos);
}

TEST_F(DensePrograms, HaveNoMoreFunctionsThanAnybodyPlans) {
  options_.attention = NpuUse::kAlways;
  Plan plan = Make();
  for (int64_t history = 0; history < 20; ++history) {
    plan.attention.history_tokens.push_back(2048 + 32 * history);
  }
  const Status refused = ParsePlan(SerializePlan(plan), "plan.json").status();
  EXPECT_NE(refused.message().find("at most 17"), std::string::npos) << refused.message();
}

TEST_F(DensePrograms, AreLaunchedOncePerLayerAndChunkThatTheyHold) {
  options_.attention = options_.head = NpuUse::kAlways;
  Plan plan = Make();
  const CostModel costs(inputs_.config, inputs_.profile, 2);
  const RoutingTrace trace = testdata::MakeTrace(inputs_.config, {1024, 0.7, 1024, 3});
  const Result<SimulationResult> all = Simulate(plan, costs, trace, 0);
  ASSERT_TRUE(all.ok()) << all.status().message();
  EXPECT_EQ(all->dense_launches, 4 * 4 + 1);
  plan.attention.history_tokens = {0, 256};  // the chunks at 512 and 768 are the CPU's
  EXPECT_EQ(Simulate(plan, costs, trace, 0)->dense_launches, 4 * 2 + 1);
  plan.head = {};
  EXPECT_EQ(Simulate(plan, costs, trace, 0)->dense_launches, 4 * 2);
}

TEST_F(DensePrograms, AreSmallerInAFormatThatRoundsThem) {
  options_.attention = options_.head = NpuUse::kAlways;
  const Plan fp16 = Make();
  options_.dense_weight_format = WeightFormat::kInt8;
  const Plan int8 = Make();
  EXPECT_EQ(int8.dense_weight_format, WeightFormat::kInt8);
  EXPECT_EQ(int8.weight_format, WeightFormat::kF16);
  EXPECT_NE(int8.Hash(), fp16.Hash());
  const AttentionConfig& attention = inputs_.config.attention;
  const int64_t hidden = inputs_.config.hidden_size, vocabulary = inputs_.config.vocab_size;
  const int64_t rows = attention.query_size() + 2 * attention.kv_size();
  const int64_t weights = rows * hidden + hidden * attention.output_size();
  // A byte less a weight, and a scale a row.
  const int64_t saved = 4 * (weights - 2 * (rows + hidden)) + vocabulary * (hidden - 2);
  EXPECT_EQ(fp16.predicted.npu_weight_bytes - int8.predicted.npu_weight_bytes, saved);
  const CostModel costs(inputs_.config, inputs_.profile, 2,
                        {.experts = WeightFormat::kF16, .dense = WeightFormat::kInt8});
  EXPECT_EQ(AttentionWeightBytes(costs), weights + 2 * (rows + hidden));
}

TEST_F(DensePrograms, TakeNoBlocksThatTheirRowsDoNotFill) {
  options_.attention = NpuUse::kAlways;
  options_.head = NpuUse::kNever;
  options_.dense_weight_format = WeightFormat::kInt8Block32;
  Plan plan = Make();
  EXPECT_EQ(plan.attention.layers.size(), 4u);
  inputs_.config.attention.num_heads = inputs_.config.attention.num_kv_heads = 1;
  inputs_.config.attention.head_dim = 48;
  const auto expect_refused = [](const Status& refused) {
    EXPECT_NE(refused.message().find("a matrix of attention has rows of 48; use int8"),
              std::string::npos)
        << refused.message();
  };
  expect_refused(MakePlan(inputs_, options_).status());
  expect_refused(CheckPlanFits(plan, inputs_.config, inputs_.model_hash, inputs_.profile));
}

TEST_F(DensePrograms, CostMoreBehindALongerHistory) {
  const CostModel costs(inputs_.config, inputs_.profile, 2);
  double last_ms = 0;
  for (const int64_t history : {0, 256, 1024, 8192}) {
    const double ms = AttentionLaunchCost(costs, 256, history).total_ms();
    EXPECT_GT(ms, last_ms);
    last_ms = ms;
  }
}

}  // namespace
}  // namespace npumoe
