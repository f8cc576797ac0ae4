#include "plan/simulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "plan/planning_test_data.h"

namespace npumoe {
namespace {

LayerPlan TwoPrograms() {
  return {0, {{GraphForm::kDenseChains, {{0, 16}, {1, 32}}}, {GraphForm::kDenseChains, {{3, 16}}}}};
}

TEST(CountDispatch, CountsRowsPaddingSpillAndCpuWork) {
  const std::vector<int32_t> loads = {20, 5, 7, 0};
  const DispatchCounts counts = CountDispatch(TwoPrograms(), loads, OverflowMode::kSpill);
  const DispatchCounts expected{.launches = 1,
                                .capacity_rows = 48,
                                .filled_rows = 21,
                                .spilled_rows = 4,
                                .dropped_rows = 0,
                                .cpu_rows = 7};
  EXPECT_EQ(counts, expected);
  EXPECT_EQ(counts.padding_rows(), 27);
  EXPECT_EQ(counts.assignments(), 32);
}

TEST(CountDispatch, CountsOverflowAsDroppedInDropMode) {
  const std::vector<int32_t> loads = {20, 5, 7, 0};
  const DispatchCounts counts = CountDispatch(TwoPrograms(), loads, OverflowMode::kDrop);
  EXPECT_EQ(counts.dropped_rows, 4);
  EXPECT_EQ(counts.spilled_rows, 0);
  EXPECT_EQ(counts.assignments(), 32);
}

TEST(CountDispatch, DoesNotLaunchAProgramThatNobodyAsksFor) {
  const std::vector<int32_t> loads = {0, 0, 9, 0};
  EXPECT_EQ(CountDispatch(TwoPrograms(), loads, OverflowMode::kSpill).launches, 0);
}

TEST(DispatchCounts, AddUpFieldByField) {
  DispatchCounts sum{1, 2, 3, 4, 5, 6};
  sum += {10, 20, 30, 40, 50, 60};
  EXPECT_EQ(sum, (DispatchCounts{11, 22, 33, 44, 55, 66}));
}

class Simulator : public testing::Test {
 protected:
  Simulator() {
    inputs_ =
        testdata::MakeInputs(testdata::Demo(), testdata::Chip("m2-max"), {4096, 0.7, 1024, 3});
    options_.prompt_tokens = 1024;
    options_.chunk_candidates = {256};
    options_.min_npu_share = 0.9;
    plan_ = *MakePlan(inputs_, options_);
  }
  CostModel Costs() const { return CostModel(inputs_.config, inputs_.profile, 2); }
  RoutingTrace Trace(int64_t tokens) const {
    return testdata::MakeTrace(inputs_.config, {tokens, 0.7, tokens, 3});
  }
  // Counts by CountDispatch, chunk by chunk, apart from the simulator's own loop.
  DispatchCounts Recount(const RoutingTrace& trace, const std::vector<ChunkSpan>& chunks) const {
    DispatchCounts sum;
    for (const ChunkSpan& chunk : chunks) {
      for (size_t l = 0; l < trace.layers.size(); ++l) {
        std::vector<int32_t> loads(32, 0);
        for (int64_t i = chunk.begin * 4; i < chunk.end * 4; ++i) {
          ++loads[static_cast<size_t>(trace.layers[l].ids[static_cast<size_t>(i)])];
        }
        const bool on_npu = chunk.place == ChunkPlace::kNpu;
        sum += CountDispatch(on_npu ? plan_.layers[l] : LayerPlan{}, loads, plan_.overflow);
      }
    }
    return sum;
  }

  PlanInputs inputs_;
  PlanOptions options_;
  Plan plan_;
};

TEST_F(Simulator, CountsWhatCountDispatchCounts) {
  const RoutingTrace trace = Trace(1000);
  const Result<SimulationResult> result = Simulate(plan_, Costs(), trace, 0);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->counts, Recount(trace, CutIntoChunks(plan_, Costs(), 1000, 0)));
  EXPECT_EQ(result->counts.assignments(), 1000 * 4 * 4);
}

TEST_F(Simulator, CountsEveryAssignmentOfEveryChunkOnce) {
  const std::vector<ChunkSpan> chunks = {{0, 256}, {256, 300}};
  const auto loads = CountLoads(plan_, Trace(300), 0, chunks);
  ASSERT_TRUE(loads.ok()) << loads.status().message();
  ASSERT_EQ(loads->size(), 2u);
  for (size_t c = 0; c < chunks.size(); ++c) {
    EXPECT_EQ(std::accumulate(loads->at(c).begin(), loads->at(c).end(), int64_t{0}),
              (chunks[c].end - chunks[c].begin) * 4 * 4);  // experts per token, layers
  }
}

TEST_F(Simulator, CountsNoChunkThatTheSequenceDoesNotHave) {
  for (const ChunkSpan& chunk : {ChunkSpan{0, 301}, ChunkSpan{-1, 5}, ChunkSpan{5, 4}}) {
    EXPECT_EQ(CountLoads(plan_, Trace(300), 0, std::span(&chunk, 1)).status().code(),
              StatusCode::kInvalidInput);
  }
}

TEST_F(Simulator, NeverRunsTwoThingsAtOnceOnOneEngine) {
  const Result<SimulationResult> result = Simulate(plan_, Costs(), Trace(1024), 0);
  ASSERT_TRUE(result.ok());
  for (const Engine engine : {Engine::kCpu, Engine::kNpu}) {
    double end_ms = 0;
    for (const TimelineSpan& span : result->timeline.spans) {
      if (span.engine != engine) continue;
      EXPECT_GE(span.start_ms, end_ms - 1e-9) << span.what;
      end_ms = span.end_ms;
    }
  }
  EXPECT_NEAR(result->timeline.BusyMs(Engine::kCpu), result->cpu_busy_ms, 1e-6);
  EXPECT_NEAR(result->timeline.BusyMs(Engine::kNpu), result->npu_busy_ms, 1e-6);
  EXPECT_NEAR(result->timeline.EndMs(), result->time_ms, 1e-9);
}

TEST_F(Simulator, OverlapsTheEnginesWithTwoChunksInFlight) {
  const Result<SimulationResult> result = Simulate(plan_, Costs(), Trace(1024), 0);
  ASSERT_TRUE(result.ok());
  EXPECT_LT(result->time_ms, result->cpu_busy_ms + result->npu_busy_ms);
  EXPECT_GE(result->time_ms, std::max(result->cpu_busy_ms, result->npu_busy_ms));
}

// Busy time of an engine alone, without the slowdown of the other one.
double OverlapMs(const SimulationResult& result) {
  return result.cpu_busy_ms + result.npu_busy_ms - result.time_ms;
}

TEST_F(Simulator, BothEnginesTakeLongerWhileTheySlowEachOtherDown) {
  const SimulationResult free = *Simulate(plan_, Costs(), Trace(1024), 0);
  inputs_.profile.npu.slowdown_beside_cpu.value = 2;
  inputs_.profile.cpu.slowdown_beside_npu.value = 2;
  const SimulationResult slowed = *Simulate(plan_, Costs(), Trace(1024), 0);
  EXPECT_EQ(slowed.counts, free.counts);
  // Two engines that halve each other do as much together as one alone: overlapping gains nothing.
  const double work_ms = free.cpu_busy_ms + free.npu_busy_ms;
  EXPECT_NEAR(slowed.time_ms, work_ms, 1e-6 * work_ms);
  EXPECT_GT(slowed.npu_busy_ms, free.npu_busy_ms);
  EXPECT_GT(slowed.cpu_busy_ms, free.cpu_busy_ms);
  EXPECT_GT(OverlapMs(free), 0);
}

TEST_F(Simulator, PredictionOfOnePromptIsItsSimulation) {
  inputs_ = testdata::MakeInputs(testdata::Demo(), testdata::Chip("m2-max"), {1024, 0.7, 1024, 3});
  plan_ = *MakePlan(inputs_, options_);
  const Result<SimulationResult> result = Simulate(plan_, Costs(), Trace(1024), 0);
  ASSERT_TRUE(result.ok());
  EXPECT_NEAR(plan_.predicted.time_ms.value, result->time_ms, 1e-9 * result->time_ms);
  EXPECT_NEAR(plan_.predicted.energy_j.value, result->energy_j, 1e-9 * result->energy_j);
  EXPECT_EQ(plan_.predicted.launches, result->counts.launches);
}

TEST_F(Simulator, CutsALastPartialChunkAndKeepsTheHistory) {
  const std::vector<ChunkSpan> chunks = CutIntoChunks(plan_, Costs(), 600, 100);
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(chunks[0].begin, 100);
  EXPECT_EQ(chunks[2].begin, 612);
  EXPECT_EQ(chunks[2].end, 700);
  EXPECT_TRUE(CutIntoChunks(plan_, Costs(), 0, 5).empty());
}

TEST_F(Simulator, PutsAShortLastChunkOnTheCpuUnlessAShareIsAskedFor) {
  EXPECT_EQ(CutIntoChunks(plan_, Costs(), 300, 0).back().place, ChunkPlace::kNpu);
  plan_.min_npu_share = 0;
  EXPECT_EQ(CutIntoChunks(plan_, Costs(), 300, 0).back().place, ChunkPlace::kCpu);
}

TEST_F(Simulator, RefusesATraceOfAnotherModel) {
  RoutingTrace trace = Trace(64);
  trace.layers.pop_back();
  EXPECT_EQ(Simulate(plan_, Costs(), trace, 0).status().code(), StatusCode::kInvalidInput);
  EXPECT_EQ(Simulate(plan_, Costs(), Trace(64), 1).status().code(), StatusCode::kInvalidInput);
  const RoutingTrace other = testdata::MakeTrace(testdata::Qwen3A3b(4), {64});
  EXPECT_EQ(Simulate(plan_, Costs(), other, 0).status().code(), StatusCode::kInvalidInput);
}

}  // namespace
}  // namespace npumoe
