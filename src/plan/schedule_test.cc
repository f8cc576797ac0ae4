#include "plan/schedule.h"

#include <gtest/gtest.h>

#include <map>

namespace npumoe {
namespace {

bool IsStep(const std::optional<Step>& step, int chunk, int layer, Stage stage) {
  return step && step->chunk == chunk && step->layer == layer && step->stage == stage;
}

const auto kDone = [](int) { return true; };
const auto kRunning = [](int) { return false; };

// All steps in the order in which the CPU does them, launches answering by `launches_done`.
template <class LaunchesDone>
std::vector<Step> StepsOf(Schedule schedule, LaunchesDone launches_done) {
  std::vector<Step> steps;
  while (const auto step = schedule.Next(launches_done)) {
    steps.push_back(*step);
    schedule.Finished(*step);
    if (steps.size() > 10'000) break;
  }
  return steps;
}

TEST(Schedule, RunsTheStagesOfOneChunkInOrder) {
  const auto steps = StepsOf(Schedule(1, 2, 2), kDone);
  ASSERT_EQ(steps.size(), 8u);
  const Stage stages[] = {Stage::kAttention, Stage::kRouting, Stage::kCpuExperts, Stage::kCombine};
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].layer, static_cast<int>(i / 4));
    EXPECT_EQ(steps[i].stage, stages[i % 4]);
  }
}

TEST(Schedule, IsDoneAtOnceWithoutChunksOrLayers) {
  EXPECT_FALSE(Schedule(0, 4, 2).Next(kDone).has_value());
  EXPECT_FALSE(Schedule(3, 0, 2).Next(kDone).has_value());
}

TEST(Schedule, DoesEveryStageOfEveryChunkAndLayerOnce) {
  for (const int in_flight : {1, 2, 3}) {
    std::map<std::tuple<int, int, Stage>, int> seen;
    for (const Step& step : StepsOf(Schedule(5, 4, in_flight), kRunning)) {
      ++seen[{step.chunk, step.layer, step.stage}];
    }
    EXPECT_EQ(seen.size(), 5u * 4 * 4) << in_flight;
    for (const auto& [step, count] : seen) EXPECT_EQ(count, 1);
  }
}

// Attention, routing and CPU experts of the first chunk; its launches run.
void LaunchFirstChunk(Schedule& schedule) {
  for (int i = 0; i < 3; ++i) schedule.Finished(*schedule.Next(kRunning));
}

TEST(Schedule, StartsTheNextChunkWhileLaunchesRun) {
  Schedule schedule(2, 2, 2);
  LaunchFirstChunk(schedule);
  EXPECT_TRUE(IsStep(schedule.Next(kRunning), 1, 0, Stage::kAttention));
}

TEST(Schedule, PrefersTheOlderChunkOnceItsLaunchesAreDone) {
  Schedule schedule(2, 2, 2);
  LaunchFirstChunk(schedule);
  EXPECT_TRUE(IsStep(schedule.Next(kDone), 0, 0, Stage::kCombine));
}

TEST(Schedule, LaunchesBeforeItCombines) {
  Schedule schedule(2, 2, 2);
  LaunchFirstChunk(schedule);
  schedule.Finished(*schedule.Next(kRunning));  // attention of the second chunk
  EXPECT_TRUE(IsStep(schedule.Next(kDone), 1, 0, Stage::kRouting));
  schedule.Finished(*schedule.Next(kDone));
  EXPECT_TRUE(IsStep(schedule.Next(kDone), 0, 0, Stage::kCombine));
}

TEST(Schedule, WaitsForTheOldestChunkWhenNothingElseMayStart) {
  Schedule schedule(3, 2, 2);
  LaunchFirstChunk(schedule);
  const auto older_runs = [](int chunk) { return chunk == 1; };
  for (int i = 0; i < 3; ++i) schedule.Finished(*schedule.Next(older_runs));
  EXPECT_TRUE(IsStep(schedule.Next(kRunning), 0, 0, Stage::kCombine));
}

TEST(Schedule, CombinesAYoungerChunkWhoseLaunchesFinishedFirst) {
  Schedule schedule(2, 2, 2);
  LaunchFirstChunk(schedule);
  const auto younger_done = [](int chunk) { return chunk == 1; };
  for (int i = 0; i < 3; ++i) schedule.Finished(*schedule.Next(younger_done));
  EXPECT_TRUE(IsStep(schedule.Next(younger_done), 1, 0, Stage::kCombine));
}

TEST(Schedule, HoldsAChunkBackUntilTheOneBeforeHasWrittenItsKeysThere) {
  // Launches of chunk 1 finish at once, those of chunk 0 never do: chunk 1 may end layer 0, but
  // must not enter layer 1 before chunk 0 has.
  Schedule schedule(2, 2, 2);
  const auto younger_done = [](int chunk) { return chunk == 1; };
  LaunchFirstChunk(schedule);
  for (int i = 0; i < 4; ++i) schedule.Finished(*schedule.Next(younger_done));
  EXPECT_TRUE(IsStep(schedule.Next(younger_done), 0, 0, Stage::kCombine));
}

TEST(Schedule, NeverLetsAChunkReadKeysThatAreNotWritten) {
  for (const int in_flight : {1, 2, 4}) {
    std::map<std::pair<int, int>, bool> written;
    int toggle = 0;
    const auto sometimes = [&toggle](int chunk) { return (++toggle * 7 + chunk) % 3 == 0; };
    for (const Step& step : StepsOf(Schedule(6, 5, in_flight), sometimes)) {
      if (step.stage == Stage::kAttention && step.chunk > 0) {
        EXPECT_TRUE((written[{step.chunk - 1, step.layer}]));
      }
      if (step.stage == Stage::kRouting) written[{step.chunk, step.layer}] = true;
    }
  }
}

TEST(Schedule, KeepsNoMoreChunksInFlightThanAllowed) {
  for (const int in_flight : {1, 2, 3}) {
    std::map<int, int> stages_done;
    for (const Step& step : StepsOf(Schedule(6, 4, in_flight), kRunning)) {
      ++stages_done[step.chunk];
      int active = 0;
      for (const auto& [chunk, count] : stages_done) active += count < 4 * 4;
      EXPECT_LE(active, in_flight);
    }
  }
}

TEST(Schedule, LeavesTheCpuToTheOlderChunkWhileItsAttentionRuns) {
  // Chunk 1 follows into layer 0 only once chunk 0 has left its attention there.
  Schedule schedule(2, 2, 2);
  schedule.Finished(*schedule.Next(kRunning));
  EXPECT_TRUE(IsStep(schedule.Next(kRunning), 0, 0, Stage::kRouting));
}

TEST(ScheduleDeathTest, EndsTheProgramWhenAStepIsFinishedOutOfOrder) {
  Schedule schedule(1, 1, 1);
  EXPECT_DEATH(schedule.Finished({0, 0, Stage::kCombine}), "");
}

}  // namespace
}  // namespace npumoe
