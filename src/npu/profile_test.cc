#include "npu/profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

namespace npumoe {
namespace {

namespace fs = std::filesystem;

const fs::path kChips = NPUMOE_SOURCE_DIR "/chips";

Figure Plain(double value) {
  return {.value = value, .provenance = Provenance::kAssumed, .spread = 0, .source = "test"};
}

NpuCosts MakeCosts() {
  NpuCosts npu;
  npu.launch_ms = Plain(0.4);
  npu.sync_ms = Plain(0.2);
  npu.tflops = {{16, Plain(2)}, {32, Plain(4)}};
  npu.stream_gb_per_s = Plain(50);
  npu.io_gb_per_s = Plain(10);
  npu.idle_w = Plain(0.5);
  npu.stream_w = Plain(2);
  npu.compute_w = Plain(6);
  return npu;
}

TEST(RateAt, IsLinearBetweenPointsAndFlatOutside) {
  const NpuCosts npu = MakeCosts();
  EXPECT_DOUBLE_EQ(RateAt(npu.tflops, 0), 2);
  EXPECT_DOUBLE_EQ(RateAt(npu.tflops, 16), 2);
  EXPECT_DOUBLE_EQ(RateAt(npu.tflops, 24), 3);
  EXPECT_DOUBLE_EQ(RateAt(npu.tflops, 32), 4);
  EXPECT_DOUBLE_EQ(RateAt(npu.tflops, 5000), 4);
}

TEST(Overlap, WithoutSlowdownTheLongerOneCounts) {
  EXPECT_EQ(Overlap{}.ElapsedMs(3.0, 5.0), 5.0);
  EXPECT_EQ(Overlap{}.ElapsedMs(5.0f, 3.0f), 5.0f);
}

TEST(Overlap, WhatIsLeftOfTheLongerOneRunsAtItsOwnPace) {
  const Overlap overlap{2, 1.5};
  // 2 ms of launches take 4, in which the CPU does 4 / 1.5 of its 10.
  EXPECT_DOUBLE_EQ(overlap.ElapsedMs(2.0, 10.0), 4 + 10 - 4 / 1.5);
  // 2 ms of CPU work take 3, in which the NPU does 1.5 of its 10.
  EXPECT_DOUBLE_EQ(overlap.ElapsedMs(10.0, 2.0), 3 + 10 - 1.5);
  EXPECT_DOUBLE_EQ(overlap.ElapsedMs(0.0, 2.0), 2);
}

TEST(ModelLaunch, OfNothingCostsLaunchAndSync) {
  const LaunchCost cost = ModelLaunch(MakeCosts(), {}, 0);
  EXPECT_DOUBLE_EQ(cost.total_ms(), 0.6);
  EXPECT_DOUBLE_EQ(cost.energy_j, 0.6e-3 * 1.5);
}

TEST(ModelLaunch, TakesTheLargerOfArithmeticAndStreamingForEveryWork) {
  // 4e9 flop at 4 TFLOP/s: 1 ms, its 10 MB stream in 0.2 ms. 1e8 flop: 0.025 ms, 100 MB: 2 ms.
  const std::array works = {LaunchWork{32, 4e9, 10e6}, LaunchWork{32, 1e8, 100e6}};
  const LaunchCost cost = ModelLaunch(MakeCosts(), works, 5e6);
  EXPECT_DOUBLE_EQ(cost.compute_ms, 1 + 2);
  EXPECT_DOUBLE_EQ(cost.io_ms, 0.5);
  EXPECT_DOUBLE_EQ(cost.overhead_ms, 0.6);
}

TEST(ModelLaunch, ChargesArithmeticAtComputePowerAndTheRestAtStreamPowerAboveIdle) {
  const std::array works = {LaunchWork{32, 4e9, 10e6}, LaunchWork{32, 1e8, 100e6}};
  const LaunchCost cost = ModelLaunch(MakeCosts(), works, 5e6);
  EXPECT_NEAR(cost.energy_j, (1 * 5.5 + (2 + 0.5 + 0.6) * 1.5) * 1e-3, 1e-15);
}

TEST(ModelLaunch, OfAnExpertIsTheSumOfItsProducts) {
  const double weights = 2048 * 768;
  for (double rows : {16.0, 33.0, 48.0, 512.0}) {
    const LaunchWork product{rows, 2 * rows * weights, 2 * weights};
    const std::array apart = {product, product, product};
    const std::array whole = {LaunchWork{rows, 6 * rows * weights, 6 * weights}};
    EXPECT_NEAR(ModelLaunch(MakeCosts(), apart, 0).total_ms(),
                ModelLaunch(MakeCosts(), whole, 0).total_ms(), 1e-12);
    EXPECT_NEAR(ModelLaunch(MakeCosts(), apart, 0).energy_j,
                ModelLaunch(MakeCosts(), whole, 0).energy_j, 1e-15);
  }
}

TEST(ModelCpuFfn, TakesTheLargerOfArithmeticAndBandwidth) {
  CpuCosts cpu;
  cpu.gflops = {{1, Plain(100)}, {32, Plain(1000)}};
  cpu.bandwidth_gb_per_s = Plain(100);
  EXPECT_DOUBLE_EQ(ModelCpuFfnMs(cpu, 1, 1e6, 1e6), 0.01);   // 0.01 ms each
  EXPECT_DOUBLE_EQ(ModelCpuFfnMs(cpu, 32, 1e9, 1e6), 1.0);   // arithmetic
  EXPECT_DOUBLE_EQ(ModelCpuFfnMs(cpu, 32, 1e6, 50e6), 0.5);  // bandwidth
}

class Chip : public testing::TestWithParam<const char*> {};

TEST_P(Chip, LoadsByNameAndEveryFigureHasASource) {
  const Result<ChipProfile> profile = LoadChipProfile(GetParam(), {kChips});
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  EXPECT_EQ(profile->name, GetParam());
  EXPECT_EQ(profile->hash.size(), 32u);
  EXPECT_EQ(profile->origins.size(), 61u);  // every entry of the format
  for (const FigureOrigin& origin : profile->origins) {
    EXPECT_GE(origin.source.size(), 10u) << origin.key;
  }
}

TEST_P(Chip, CarriesTheLimitsOfTheNeuralEngine) {
  const ChipProfile profile = *LoadChipProfile(GetParam(), {kChips});
  EXPECT_EQ(profile.limits.max_programs, 120);
  EXPECT_EQ(profile.limits.max_channels, 16384);
  EXPECT_EQ(profile.limits.max_rank, 5);
  EXPECT_LE(profile.limits.max_program_bytes, 1200000000);
  EXPECT_EQ(profile.limits.capacity_quantum % 16, 0);
  EXPECT_FALSE(profile.npu.cost_follows_rows);
}

// Where the chips differ: docs/design/ane-facts.md, sections 3 to 6.
TEST(ChipProfiles, DifferWhereTheChipsDo) {
  const auto limits = [](const char* chip) { return LimitsOf(*LoadChipProfile(chip, {kChips})); };
  for (const char* chip : {"m2-max", "m2-ultra", "m4", "m4-max"}) {
    EXPECT_EQ(limits(chip).max_kernel_width, 16) << chip;
    EXPECT_EQ(limits(chip).max_kernel_height, 32) << chip;
    EXPECT_FALSE(limits(chip).refuses_int32_cast) << chip;
    EXPECT_FALSE(limits(chip).expands_int8) << chip;
  }
  EXPECT_EQ(limits("m1").max_kernel_width, 13);
  EXPECT_EQ(limits("m1").max_kernel_height, 29);
  EXPECT_TRUE(limits("m1").refuses_int32_cast);
  EXPECT_TRUE(limits("m1").expands_int8);
  for (const char* chip : {"m1", "m2-max", "m2-ultra"}) {
    EXPECT_EQ(limits(chip).max_axis, 16384) << chip;
    EXPECT_TRUE(limits(chip).clamps_slices) << chip;
    EXPECT_TRUE(limits(chip).refuses_int8_activations) << chip;
    const auto& refused = limits(chip).refused_ops;
    EXPECT_EQ(std::count(refused.begin(), refused.end(), "cos"), 1) << chip;
  }
  for (const char* chip : {"m4", "m4-max"}) {
    EXPECT_EQ(limits(chip).max_axis, 65536) << chip;
    EXPECT_FALSE(limits(chip).clamps_slices) << chip;
    EXPECT_FALSE(limits(chip).refuses_int8_activations) << chip;
    const auto& refused = limits(chip).refused_ops;
    EXPECT_EQ(std::count(refused.begin(), refused.end(), "cos"), 0) << chip;
  }
}

TEST(ChipProfiles, KnowTheArithmeticOfALaunch) {
  const ChipProfile profile = *LoadChipProfile("m2-max", {kChips});  // 0.4 ms at 4.5 TFLOP/s
  EXPECT_NEAR(LimitsOf(profile).launch_flops, 1.8e9, 1);
}

INSTANTIATE_TEST_SUITE_P(Chips, Chip, testing::Values("m1", "m2-max", "m2-ultra", "m4", "m4-max"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(ChipProfiles, AreListedByName) {
  const std::vector<std::string> names = ListChipProfiles({kChips, "/nonexistent"});
  EXPECT_EQ(names, (std::vector<std::string>{"m1", "m2-max", "m2-ultra", "m4", "m4-max"}));
}

TEST(ChipProfiles, ListTheKnownOnesForAnUnknownName) {
  const Status status = LoadChipProfile("m9", {kChips}).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("known: m1, m2-max, m2-ultra, m4, m4-max"), std::string::npos)
      << status.message();
}

TEST(ChipProfiles, AreNotFoundOutsideTheirFolders) {
  EXPECT_EQ(LoadChipProfile("../chips/m1", {kChips}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(LoadChipProfile("", {kChips}).status().code(), StatusCode::kNotFound);
}

TEST(ChipProfiles, LoadFromAPath) {
  const Result<ChipProfile> profile = LoadChipProfile((kChips / "m4.toml").string(), {});
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  EXPECT_EQ(profile->name, "m4");
}

TEST(ChipProfiles, TakeTheFirstFolderThatHasTheName) {
  const fs::path folder = fs::path(testing::TempDir()) / "npumoe_own_chips";
  fs::create_directories(folder);
  std::ofstream(folder / "m1.toml") << std::ifstream(kChips / "m4.toml").rdbuf();
  const Result<ChipProfile> profile = LoadChipProfile("m1", {folder, kChips});
  fs::remove_all(folder);
  ASSERT_TRUE(profile.ok());
  EXPECT_EQ(profile->description.substr(0, 8), "Apple M4");
}

TEST(ChipProfile, SaysWhatItsLimitsAllowInGraphs) {
  ChipProfile profile;
  profile.limits.max_axis = 100;
  profile.limits.max_channels = 200;
  profile.limits.max_rank = 4;
  profile.limits.max_program_bytes = 1000;
  profile.limits.max_weight_file_bytes = 2000;
  profile.limits.refused_ops = {"gather"};
  profile.limits.graph.max_batch = 7;
  const GraphLimits limits = LimitsOf(profile);
  EXPECT_EQ(limits.max_axis, 100);
  EXPECT_EQ(limits.max_batch, 7);
  EXPECT_EQ(limits.max_channels, 200);
  EXPECT_EQ(limits.max_rank, 4);
  EXPECT_EQ(limits.max_program_bytes, 1000);
  EXPECT_EQ(limits.max_weight_file_bytes, 2000);
  EXPECT_EQ(limits.refused_ops, std::vector<std::string>{"gather"});
}

}  // namespace
}  // namespace npumoe
