#include "runtime/prefill_timeline.h"

#include <gtest/gtest.h>

namespace npumoe {
namespace {

LaunchReport Modelled(double time_ms) { return {time_ms, 0.5, true}; }

TEST(PrefillTimeline, PutsCpuWorkBackToBack) {
  PrefillTimeline timeline;
  timeline.AddCpuWork(0, 0, "attention", 2);
  timeline.AddCpuWork(0, 0, "gather", 3);
  EXPECT_DOUBLE_EQ(timeline.now_ms(), 5);
}

TEST(PrefillTimeline, ALaunchOverlapsCpuWork) {
  PrefillTimeline timeline;
  timeline.AddCpuWork(0, 0, "gather", 2);
  const double submitted_ms = timeline.now_ms();
  timeline.AddCpuWork(0, 0, "cpu experts", 4);
  EXPECT_DOUBLE_EQ(timeline.AddLaunch(0, {ProgramKind::kExperts, 0, 0}, submitted_ms, Modelled(3)),
                   5);
  timeline.WaitUntil(5);
  EXPECT_DOUBLE_EQ(timeline.now_ms(), 6);  // the CPU was busy longer
}

TEST(PrefillTimeline, LaunchesQueueOnOneEngine) {
  PrefillTimeline timeline;
  EXPECT_DOUBLE_EQ(timeline.AddLaunch(0, {ProgramKind::kExperts, 0, 0}, 1, Modelled(10)), 11);
  EXPECT_DOUBLE_EQ(timeline.AddLaunch(0, {ProgramKind::kExperts, 0, 1}, 2, Modelled(5)), 16);
  EXPECT_DOUBLE_EQ(timeline.npu_energy_j(), 1);
}

TEST(PrefillTimeline, WaitingMovesTheCpuToTheEndOfTheLaunch) {
  PrefillTimeline timeline;
  timeline.WaitUntil(timeline.AddLaunch(0, {ProgramKind::kExperts, 0, 0}, 0, Modelled(7)));
  timeline.AddCpuWork(0, 0, "combine", 1);
  EXPECT_DOUBLE_EQ(timeline.Take().EndMs(), 8);
}

TEST(PrefillTimeline, SaysWhatWasMeasuredAndWhatModelled) {
  PrefillTimeline timeline;
  timeline.AddCpuWork(0, 3, "attention", 1);
  timeline.AddLaunch(1, {ProgramKind::kExperts, 3, 2}, 1, Modelled(1));
  timeline.AddLaunch(1, {ProgramKind::kExperts, 3, 2}, 1, {1, 0, false});
  const Timeline taken = timeline.Take();
  EXPECT_EQ(taken.spans[0].source, TimeSource::kMeasured);
  EXPECT_EQ(taken.spans[1].source, TimeSource::kModelled);
  EXPECT_EQ(taken.spans[1].what, "launch 2");
  EXPECT_EQ(taken.spans[2].source, TimeSource::kMeasured);
}

}  // namespace
}  // namespace npumoe
