#include "plan/shared_expert.h"

#include <gtest/gtest.h>

#include "plan/planning_test_data.h"
#include "plan/program_limits.h"
#include "plan/simulator.h"

namespace npumoe {
namespace {

constexpr int kTokens = 8192;

// The demo's shape with a shared expert twice as wide as a routed one.
ModelConfig WithShared() {
  ModelConfig config = testdata::Demo();
  config.moe.shared_intermediate_size = 256;
  return config;
}

PlanInputs Inputs(const ModelConfig& config) {
  return testdata::MakeInputs(config, testdata::Chip("m2-max"), {.tokens = kTokens});
}

PlanOptions Options(Strategy strategy, double share) {
  PlanOptions options;
  options.strategy = strategy;
  options.min_npu_share = share;
  options.chunk_candidates = {256};
  return options;
}

Plan Make(const PlanInputs& inputs, Strategy strategy, double share = 0) {
  const Result<Plan> plan = MakePlan(inputs, Options(strategy, share));
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  return plan.ok() ? *plan : Plan{};
}

// Programs of the plan that hold the shared expert.
std::vector<PlannedProgram> SharedPrograms(const Plan& plan) {
  std::vector<PlannedProgram> found;
  for (const LayerPlan& layer : plan.layers) {
    for (const PlannedProgram& program : layer.programs) {
      for (const PlannedExpert& expert : program.experts) {
        if (expert.expert == plan.num_experts) found.push_back(program);
      }
    }
  }
  return found;
}

TEST(SharedExpert, CostsWhatItsOwnSizeCosts) {
  const CostModel costs(WithShared(), testdata::Chip("m2-max"), 2);
  EXPECT_EQ(costs.ExpertProgramBytes(32), 2 * costs.ExpertProgramBytes(0));
  EXPECT_GT(costs.CpuExpertMs(32, 256), costs.CpuExpertMs(256));
}

TEST(SharedExpert, HasTheTokensOfTheChunkAsItsLoad) {
  ChunkLoads loads{64, 2, false, 2, {{10, 54, 30, 34}}};
  MoeConfig moe;
  moe.num_experts = 2;
  moe.shared_intermediate_size = 8;
  const ChunkLoads all = WithSharedExpert(loads, moe);
  EXPECT_EQ(all.num_experts, 3);
  EXPECT_EQ(all.layers[0], (std::vector<int32_t>{10, 54, 64, 30, 34, 64}));
}

TEST(SharedExpert, StaysOutOfLoadsWhereThereIsNone) {
  MoeConfig moe;
  moe.num_experts = 2;
  EXPECT_EQ(WithSharedExpert({64, 2, false, 1, {{10, 54}}}, moe).num_experts, 2);
}

TEST(SharedExpert, ResidesInAProgramOfItsOwnWithRoomForTheChunk) {
  for (const Strategy strategy : {Strategy::kBase, Strategy::kPaper, Strategy::kOptimal}) {
    const Plan plan = Make(Inputs(WithShared()), strategy, 0.95);
    const std::vector<PlannedProgram> programs = SharedPrograms(plan);
    ASSERT_EQ(programs.size(), 4u) << Name(strategy);
    for (const PlannedProgram& program : programs) {
      EXPECT_EQ(program.experts.size(), 1u);
      EXPECT_EQ(program.experts.front().capacity, 256);
    }
  }
}

TEST(SharedExpert, NeitherOverflowsNorPads) {
  const PlanInputs inputs = Inputs(WithShared());
  Plan plan = Make(inputs, Strategy::kOptimal, 0.95);
  for (LayerPlan& layer : plan.layers) {
    std::erase_if(layer.programs,
                  [](const PlannedProgram& p) { return p.experts.front().expert != 32; });
  }
  const CostModel costs(inputs.config, inputs.profile, 2);
  const RoutingTrace trace = testdata::MakeTrace(inputs.config, {.tokens = 512});
  const auto simulated = Simulate(plan, costs, trace, 0);
  ASSERT_TRUE(simulated.ok()) << simulated.status().message();
  EXPECT_EQ(simulated->counts.filled_rows, 512 * 4);
  EXPECT_EQ(simulated->counts.padding_rows(), 0);
  EXPECT_EQ(simulated->counts.spilled_rows, 0);
}

TEST(SharedExpert, CountsAmongTheAssignments) {
  const PlanInputs inputs = Inputs(WithShared());
  const Plan plan = Make(inputs, Strategy::kOptimal, 0.95);
  const RoutingTrace trace = testdata::MakeTrace(inputs.config, {.tokens = 512});
  const auto simulated = Simulate(plan, {inputs.config, inputs.profile, 2}, trace, 0);
  ASSERT_TRUE(simulated.ok()) << simulated.status().message();
  EXPECT_EQ(simulated->counts.assignments(), 512 * 4 * (4 + 1));
  EXPECT_GE(plan.predicted.npu_share, 0.95);
}

TEST(SharedExpert, CostsTimeOnTheCpuAlone) {
  const Plan with = Make(Inputs(WithShared()), Strategy::kCpu);
  const Plan without = Make(Inputs(testdata::Demo()), Strategy::kCpu);
  const CostModel costs(WithShared(), testdata::Chip("m2-max"), 2);
  // 4 chunks of 256 in 4 layers.
  EXPECT_NEAR(with.predicted.time_ms.value - without.predicted.time_ms.value,
              16 * costs.CpuExpertMs(32, 256), 1e-6);
}

TEST(SharedExpert, StaysOnTheCpuWhereFp16CannotHoldItsActivations) {
  PlanInputs inputs = Inputs(WithShared());
  inputs.calibration.shared_experts = 1;
  for (LayerCalibration& layer : inputs.calibration.layers) {
    layer.activation.assign(33, {1, 1});
    layer.activation[32].inner = 50000;
  }
  const Plan plan = Make(inputs, Strategy::kOptimal, 0.5);
  EXPECT_TRUE(SharedPrograms(plan).empty());
  ASSERT_FALSE(plan.notes.empty());
  EXPECT_NE(plan.notes.front().find("layer 0 shared expert stays on the CPU"), std::string::npos)
      << plan.notes.front();
}

TEST(SharedExpert, StaysOnTheCpuWhereNoProgramCanHoldIt) {
  ModelConfig config = WithShared();
  config.moe.shared_intermediate_size = 1 << 20;
  EXPECT_FALSE(SharedForm(CostModel(config, testdata::Chip("m2-max"), 2)).has_value());
  EXPECT_TRUE(SharedPrograms(Make(Inputs(config), Strategy::kOptimal, 0.5)).empty());
}

TEST(SharedExpert, LeavesRoomInMemoryForTheOthers) {
  PlanInputs inputs = Inputs(WithShared());
  const CostModel costs(inputs.config, inputs.profile, 2);
  // Two shared experts and some routed ones, but not four of them.
  inputs.profile.memory_bytes.value = 4.0 * static_cast<double>(costs.ExpertProgramBytes(32));
  const Plan plan = Make(inputs, Strategy::kOptimal, 0.9);
  EXPECT_LE(plan.predicted.npu_weight_bytes, ProgramMemoryBytes(inputs.profile));
  EXPECT_GT(plan.ProgramCount(), 0);
}

TEST(SharedExpert, ComesBackFromThePlanFile) {
  const Plan plan = Make(Inputs(WithShared()), Strategy::kOptimal, 0.95);
  const auto read = ParsePlan(SerializePlan(plan), "plan");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->Hash(), plan.Hash());
  EXPECT_EQ(SharedPrograms(*read).size(), SharedPrograms(plan).size());
}

}  // namespace
}  // namespace npumoe
