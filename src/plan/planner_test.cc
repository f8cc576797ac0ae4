#include "plan/planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "plan/cost_model.h"
#include "plan/planning_problem.h"
#include "plan/planning_test_data.h"
#include "plan/predict.h"

namespace npumoe {
namespace {

using testdata::AllChips;
using testdata::Chip;
using testdata::MakeInputs;

std::vector<ModelConfig> Models() {
  return {testdata::Demo(), testdata::Qwen3A3b(3), testdata::Phi35Moe(3)};
}

PlanOptions OptionsFor(Strategy strategy, int64_t prompt_tokens, std::vector<int> chunks) {
  PlanOptions options;
  options.strategy = strategy;
  options.prompt_tokens = prompt_tokens;
  options.chunk_candidates = std::move(chunks);
  return options;
}

double ShareOfCalibration(const Plan& plan, const Calibration& calibration) {
  const Result<ChunkLoads> loads = LoadsPerChunk(calibration, plan.chunk_tokens);
  EXPECT_TRUE(loads.ok());
  return NpuShare(CountCalibrated(plan, *loads));
}

std::string Describe(const ModelConfig& config, const ChipProfile& chip, const Plan& plan) {
  return chip.name + ", " + std::to_string(config.moe.num_experts) + " experts, " +
         Name(plan.strategy) + ", " + Name(plan.objective) + ", chunk " +
         std::to_string(plan.chunk_tokens);
}

TEST(Planner, NeverPredictsOptimalWorseThanAnotherStrategyOnAnyChip) {
  for (const ChipProfile& chip : AllChips()) {
    for (const ModelConfig& config : Models()) {
      const PlanInputs inputs = MakeInputs(config, chip, {4096, 1.0, 2048, 7});
      for (const Objective objective :
           {Objective::kLatency, Objective::kEnergy, Objective::kCpuTime}) {
        PlanOptions options = OptionsFor(Strategy::kOptimal, 1300, {256, 512});
        options.objective = objective;
        const Result<Plan> optimal = MakePlan(inputs, options);
        ASSERT_TRUE(optimal.ok()) << optimal.status().message();
        for (const Strategy strategy : AllStrategies()) {
          options.strategy = strategy;
          const Result<Plan> other = MakePlan(inputs, options);
          ASSERT_TRUE(other.ok()) << other.status().message();
          EXPECT_LE(ObjectiveValue(objective, optimal->predicted),
                    ObjectiveValue(objective, other->predicted) * (1 + 1e-12))
              << Describe(config, chip, *other);
        }
      }
    }
  }
}

TEST(Planner, AddsBucketsThatSaveTimeAndKeepToTheLimitOfPrograms) {
  const PlanInputs inputs = MakeInputs(testdata::Phi35Moe(3), Chip("m2-max"), {4096, 1.0, 2048, 5});
  PlanOptions options =
      OptionsFor(Strategy::kOptimal, 1100, {512});  // the last chunk has 76 tokens
  options.min_npu_share = 0.9;
  const Result<Plan> plain = MakePlan(inputs, options);
  options.max_buckets = 3;
  const Result<Plan> bucketed = MakePlan(inputs, options);
  ASSERT_TRUE(plain.ok() && bucketed.ok());
  EXPECT_EQ(plain->FunctionCount(), plain->ProgramCount());
  EXPECT_GT(bucketed->FunctionCount(), bucketed->ProgramCount());
  EXPECT_LE(bucketed->FunctionCount(), inputs.profile.limits.max_programs);
  EXPECT_LE(bucketed->predicted.npu_busy_ms.value, plain->predicted.npu_busy_ms.value);
  EXPECT_EQ(bucketed->predicted.spill, plain->predicted.spill);
  const Result<Plan> read = ParsePlan(SerializePlan(*bucketed), "p");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->Hash(), bucketed->Hash());
}

TEST(Planner, CountsTheBytesOfTheWeightFormat) {
  const PlanInputs inputs = MakeInputs(testdata::Phi35Moe(3), Chip("m2-max"), {4096, 1.0, 2048, 5});
  PlanOptions options = OptionsFor(Strategy::kNaive, 512, {512});
  const Result<Plan> fp16 = MakePlan(inputs, options);
  options.weight_format = WeightFormat::kInt4Block32;
  const Result<Plan> int4 = MakePlan(inputs, options);
  ASSERT_TRUE(fp16.ok() && int4.ok());
  ASSERT_EQ(fp16->ProgramCount(), int4->ProgramCount());
  // 4 bits and a scale of 16 for 32 of them, instead of 16.
  EXPECT_DOUBLE_EQ(static_cast<double>(int4->predicted.npu_weight_bytes),
                   static_cast<double>(fp16->predicted.npu_weight_bytes) * 4.5 / 16);
  EXPECT_NE(fp16->Hash(), int4->Hash());
}

TEST(Planner, BreaksNoLimitOfAnyChipWithAnyStrategy) {
  for (ChipProfile chip : AllChips()) {
    chip.limits.max_programs = 40;
    chip.limits.max_program_bytes = 250'000'000;
    for (const ModelConfig& config : Models()) {
      const PlanInputs inputs = MakeInputs(config, chip, {4096, 1.0, 2048, 11});
      for (const Strategy strategy : AllStrategies()) {
        PlanOptions options = OptionsFor(strategy, 2048, {512});
        options.min_npu_share = 0.5;
        const Result<Plan> plan = MakePlan(inputs, options);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        const std::string what = Describe(config, chip, *plan);
        EXPECT_LE(plan->ProgramCount(), 40) << what;
        for (const LayerPlan& layer : plan->layers) {
          std::set<int> seen;
          for (const PlannedProgram& program : layer.programs) {
            const auto experts = static_cast<int64_t>(program.experts.size());
            EXPECT_GT(experts, 0) << what;
            EXPECT_LE(experts * config.ExpertParameters() * 2, 250'000'000) << what;
            if (program.form == GraphForm::kGroupedConv) {
              EXPECT_LE(experts * config.hidden_size, chip.limits.max_axis) << what;
              EXPECT_LE(experts * config.moe.expert_intermediate_size, chip.limits.max_axis);
            }
            for (const PlannedExpert& expert : program.experts) {
              EXPECT_TRUE(seen.insert(expert.expert).second) << what;
              EXPECT_GT(expert.capacity, 0) << what;
              EXPECT_EQ(expert.capacity % chip.limits.capacity_quantum, 0) << what;
              EXPECT_LE(expert.capacity, chip.limits.max_axis) << what;
              if (program.form != GraphForm::kDenseChains) {
                EXPECT_EQ(expert.capacity, program.experts.front().capacity) << what;
              }
            }
          }
        }
      }
    }
  }
}

TEST(Planner, HonoursTheSmallestNpuShareOrSaysWhyNot) {
  for (const ChipProfile& chip : AllChips()) {
    const PlanInputs inputs = MakeInputs(testdata::Demo(), chip, {4096, 1.0, 1024, 3});
    for (const Strategy strategy : AllStrategies()) {
      for (const double share : {0.3, 0.9, 1.0}) {
        PlanOptions options = OptionsFor(strategy, 700, {128, 256, 512});
        options.min_npu_share = share;
        const Result<Plan> plan = MakePlan(inputs, options);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        const double reached = ShareOfCalibration(*plan, inputs.calibration);
        const bool said = std::any_of(plan->notes.begin(), plan->notes.end(), [](const auto& note) {
          return note.find("less than the") != std::string::npos;
        });
        const std::string what = Describe(inputs.config, chip, *plan);
        EXPECT_TRUE(said || reached >= share - 1e-12) << what << ": " << reached;
        if (strategy == Strategy::kOptimal) {
          EXPECT_GE(reached, share) << what;
        }
      }
    }
  }
}

TEST(Planner, PaperKeepsGroupsThatDoNotPayOffWhenAShareIsAskedFor) {
  const PlanInputs inputs = MakeInputs(testdata::Demo(), Chip("m2-max"), {4096, 1.0, 1024, 5});
  PlanOptions options = OptionsFor(Strategy::kPaper, 512, {512});
  EXPECT_EQ(MakePlan(inputs, options)->ProgramCount(), 0);
  options.min_npu_share = 0.9;
  const Result<Plan> plan = MakePlan(inputs, options);
  EXPECT_GE(ShareOfCalibration(*plan, inputs.calibration), 0.9);
}

TEST(Planner, IsDeterministic) {
  const PlanInputs inputs = MakeInputs(testdata::Qwen3A3b(3), Chip("m2-max"), {4096, 1.0, 2048, 9});
  const PlanOptions options = OptionsFor(Strategy::kOptimal, 2048, {256, 512, 1024});
  EXPECT_EQ(MakePlan(inputs, options)->Hash(), MakePlan(inputs, options)->Hash());
}

TEST(Planner, LeavesExpertsThatFp16CannotHoldOnTheCpuAndSaysSo) {
  PlanInputs inputs = MakeInputs(testdata::Demo(), Chip("m2-max"), {4096, 1.0, 1024, 5});
  for (LayerCalibration& layer : inputs.calibration.layers) {
    layer.activation.assign(32, {10.0f, 5.0f});
  }
  inputs.calibration.layers[2].activation[7].inner = 50000.0f;
  for (const Strategy strategy : AllStrategies()) {
    if (strategy == Strategy::kCpu) continue;
    PlanOptions options = OptionsFor(strategy, 512, {512});
    options.min_npu_share = 0.5;
    const Result<Plan> plan = MakePlan(inputs, options);
    ASSERT_TRUE(plan.ok());
    for (const PlannedProgram& program : plan->layers[2].programs) {
      for (const PlannedExpert& expert : program.experts) EXPECT_NE(expert.expert, 7);
    }
    ASSERT_FALSE(plan->notes.empty());
    EXPECT_NE(plan->notes.front().find("layer 2"), std::string::npos);
    EXPECT_NE(plan->notes.front().find("7"), std::string::npos);
  }
}

TEST(Planner, ChoosesTheChunkLengthThatIsPredictedFastest) {
  const PlanInputs inputs =
      MakeInputs(testdata::Qwen3A3b(3), Chip("m2-max"), {8192, 1.0, 8192, 13});
  const std::vector<int> candidates = {128, 256, 512, 1024, 2048};
  const Result<Plan> best = MakePlan(inputs, OptionsFor(Strategy::kOptimal, 4096, candidates));
  ASSERT_TRUE(best.ok());
  for (const int chunk : candidates) {
    const Result<Plan> one = MakePlan(inputs, OptionsFor(Strategy::kOptimal, 4096, {chunk}));
    ASSERT_TRUE(one.ok());
    EXPECT_LE(best->predicted.time_ms.value, one->predicted.time_ms.value) << chunk;
  }
}

TEST(Planner, PredictsWithASpreadFromTheProfile) {
  const PlanInputs inputs = MakeInputs(testdata::Qwen3A3b(2), Chip("m2-max"), {4096, 1.0, 2048, 1});
  const Result<Plan> plan = MakePlan(inputs, OptionsFor(Strategy::kBase, 1024, {512}));
  ASSERT_TRUE(plan.ok());
  EXPECT_GT(plan->predicted.time_ms.spread, 0);
  EXPECT_LT(plan->predicted.time_ms.spread, plan->predicted.time_ms.value);
  EXPECT_GT(plan->predicted.energy_j.spread, 0);
  EXPECT_GT(plan->predicted_cpu.time_ms.spread, 0);
  EXPECT_EQ(plan->predicted_cpu.launches, 0);
}

TEST(Planner, RefusesOptionsAndCalibrationsThatDoNotFit) {
  PlanInputs inputs = MakeInputs(testdata::Demo(), Chip("m2-max"), {1024, 1.0, 1024, 5});
  PlanOptions options;
  options.min_npu_share = 1.5;
  EXPECT_EQ(MakePlan(inputs, options).status().code(), StatusCode::kUsage);
  EXPECT_EQ(MakePlan(inputs, OptionsFor(Strategy::kOptimal, 512, {100})).status().code(),
            StatusCode::kUsage);
  EXPECT_EQ(MakePlan(inputs, OptionsFor(Strategy::kOptimal, 4096, {2048})).status().code(),
            StatusCode::kInvalidInput);  // longer than the calibration
  inputs.model_hash = "another";
  EXPECT_EQ(MakePlan(inputs, OptionsFor(Strategy::kOptimal, 512, {512})).status().code(),
            StatusCode::kInvalidInput);
}

}  // namespace
}  // namespace npumoe
