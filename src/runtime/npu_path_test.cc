// Prefill on the emulated NPU, with plans made by hand, against the CPU path.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "runtime/recount.h"
#include "runtime/test_npu.h"
#include "runtime/test_routing.h"
#include "runtime/trace_recorder.h"

namespace npumoe {
namespace {

using Case = std::tuple<std::string, GraphForm, int64_t, int>;  // golden, form, capacity, in flight

class NpuPath : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto& [golden, form, capacity, in_flight] = GetParam();
    if (IsMissing(golden)) GTEST_SKIP() << golden << " is not here";
    HandMade wanted;
    wanted.form = form;
    wanted.capacity = capacity;
    wanted.first_expert = 1;  // expert 0 is CPU work
    wanted.uneven = form == GraphForm::kDenseChains;
    bench_ = std::make_unique<NpuBench>(golden, wanted);
    ids_ = Expected(golden).Ints("long.ids");
    NpuExecutorOptions options;
    options.chunks_in_flight = in_flight;
    executor_ = bench_->Load(options);
    ASSERT_NE(executor_, nullptr);
    trace_ = std::make_unique<TraceRecorder>(bench_->model->config);
    const auto session = OpenSession(bench_->model, bench_->pool,
                                     {.npu = executor_.get(), .observer = trace_.get()});
    result_ = PrefillAll(*session, ids_);
  }

  std::unique_ptr<NpuBench> bench_;
  std::vector<int32_t> ids_;
  std::unique_ptr<NpuExecutor> executor_;
  std::unique_ptr<TraceRecorder> trace_;
  PrefillResult result_;
};

// Where fp16 tips a router's decision, that token and those that attend to it are another
// computation: they are not compared.
TEST_P(NpuPath, ComputesWhatTheCpuComputes) {
  TraceRecorder cpu_trace(bench_->model->config);
  const auto cpu = OpenSession(bench_->model, bench_->pool, {.observer = &cpu_trace});
  const std::vector<float> wanted = PrefillAll(*cpu, ids_).logits;
  const size_t compared =
      FirstFlip(cpu_trace.Trace(), trace_->Trace()) * (wanted.size() / ids_.size());
  ASSERT_GT(compared, 0u);
  EXPECT_LE(
      RelativeError(std::span(result_.logits).first(compared), std::span(wanted).first(compared)),
      kFp16LogitError);
}

TEST_P(NpuPath, LosesNoAssignment) {
  const auto& config = bench_->model->config;
  const auto layers = static_cast<int64_t>(config.MoeLayers().size());
  EXPECT_EQ(result_.counts.dropped_rows, 0);
  EXPECT_EQ(result_.counts.assignments(), 200 * config.moe.choices_per_token() * layers);
}

TEST_P(NpuPath, SpillsWhereCapacitiesAreSmall) {
  if (std::get<2>(GetParam()) != 16) return;
  EXPECT_GT(result_.counts.spilled_rows, 0);
}

TEST_P(NpuPath, ExecutesExactlyWhatThePlanImpliesForThisRouting) {
  const auto recount =
      RecountDispatch(bench_->plan, OverflowMode::kSpill, trace_->Trace(), 0, result_.chunks);
  ASSERT_TRUE(recount.ok()) << recount.status().message();
  EXPECT_EQ(*recount, result_.counts);
  EXPECT_GT(result_.counts.launches, 0);
}

TEST_P(NpuPath, ReportsEveryProgramAsLoadedAndWithoutDegradation) {
  const PlacementReport report = executor_->report();
  EXPECT_EQ(report.planned(), bench_->plan.ProgramCount());
  EXPECT_EQ(report.loaded(), report.planned());
  EXPECT_EQ(report.degradations(), 0);
  EXPECT_EQ(report.counts, result_.counts);
}

TEST_P(NpuPath, SumsOfTheProgramsAreTheTotals) {
  const PlacementReport report = executor_->report();
  DispatchCounts sum;
  for (const ProgramPlacement& program : report.programs) {
    sum.launches += program.launches;
    sum.capacity_rows += program.capacity_rows;
    sum.filled_rows += program.filled_rows;
    sum.spilled_rows += program.spilled_rows;
  }
  sum.cpu_rows = report.counts.cpu_rows;
  EXPECT_EQ(sum, report.counts);
}

std::string NameOf(const testing::TestParamInfo<Case>& test_case) {
  const auto& [golden, form, capacity, in_flight] = test_case.param;
  std::string name = golden;
  std::replace(name.begin(), name.end(), '-', '_');
  return name + "_" + Name(form) + "_" + std::to_string(capacity) + "_inflight" +
         std::to_string(in_flight);
}

INSTANTIATE_TEST_SUITE_P(
    FormsAndCapacities, NpuPath,
    testing::Combine(testing::Values("qwen3-moe", "qwen3-moe-mixed", "deepseek-v2-yarn", "gpt-oss"),
                     testing::Values(GraphForm::kGroupedConv, GraphForm::kBatchedMatmul,
                                     GraphForm::kDenseChains),
                     testing::Values(16, 64), testing::Values(1, 2)),
    NameOf);
INSTANTIATE_TEST_SUITE_P(OtherFamilies, NpuPath,
                         testing::Combine(testing::Values("deepseek-v2", "granite-moe", "mixtral",
                                                          "mixtral-window", "olmoe", "olmoe-clip",
                                                          "phi-moe", "phi-tiny-moe", "qwen2-moe",
                                                          "qwen3-moe-yarn"),
                                          testing::Values(GraphForm::kDenseChains),
                                          testing::Values(16), testing::Values(2)),
                         NameOf);

class NpuSession : public testing::Test {
 protected:
  NpuSession() : bench_("qwen3-moe", {}), ids_(Expected("qwen3-moe").Ints("long.ids")) {}
  NpuBench bench_;
  std::vector<int32_t> ids_;
};

TEST_F(NpuSession, SpillsWhatExceedsTheCapacity) {
  const auto executor = bench_.Load();
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  EXPECT_GT(PrefillAll(*session, ids_).counts.spilled_rows, 0);
}

TEST_F(NpuSession, ContinuesOnTheCpuWithTheSameTokens) {
  const auto executor = bench_.Load();
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  const Expected expected("qwen3-moe");
  EXPECT_EQ(Greedy(*session, expected.Ints("short.ids"), 30), expected.Ints("short.greedy"));
}

TEST_F(NpuSession, TwoTurnsEqualOnePrefill) {
  const auto executor = bench_.Load();
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  PrefillAll(*session, std::span(ids_).first(77));
  const PrefillResult second = PrefillAll(*session, std::span(ids_).subspan(77));
  EXPECT_EQ(second.chunks.front().begin, 77);
  const auto cpu = OpenSession(bench_.model, bench_.pool);
  const std::vector<float> wanted = PrefillAll(*cpu, ids_, LogitsWanted::kLastRow).logits;
  EXPECT_LE(RelativeError(std::span(second.logits).last(512), wanted), kFp16LogitError);
}

TEST_F(NpuSession, RefusesToDropWithoutLeave) {
  const auto executor =
      NpuExecutor::Create(bench_.plan, bench_.profile, bench_.model, *bench_.emulator,
                          bench_.Compile(), {.overflow = OverflowMode::kDrop});
  ASSERT_FALSE(executor.ok());
  EXPECT_NE(executor.status().message().find("--allow-lossy"), std::string::npos);
}

TEST_F(NpuSession, DropsAndCountsWithLeave) {
  const auto executor =
      bench_.Load({.overflow = OverflowMode::kDrop, .allow_lossy = AllowLossy::kYes});
  TraceRecorder trace(bench_.model->config);
  const auto session =
      OpenSession(bench_.model, bench_.pool, {.npu = executor.get(), .observer = &trace});
  const PrefillResult result = PrefillAll(*session, ids_);
  EXPECT_GT(result.counts.dropped_rows, 0);
  EXPECT_EQ(result.counts.spilled_rows, 0);
  const auto recount =
      RecountDispatch(bench_.plan, OverflowMode::kDrop, trace.Trace(), 0, result.chunks);
  EXPECT_EQ(*recount, result.counts);
}

TEST_F(NpuSession, ACancelledPrefillLeavesContextAndDeviceUsable) {
  const auto executor = bench_.Load();
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  int asked = 0;
  const auto cancelled =
      session->Prefill(ids_, LogitsWanted::kLastRow, [&] { return ++asked > 3; });
  EXPECT_EQ(cancelled.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(session->position(), 0);
  const auto cpu = OpenSession(bench_.model, bench_.pool);
  EXPECT_LE(RelativeError(PrefillAll(*session, ids_).logits, PrefillAll(*cpu, ids_).logits),
            kFp16LogitError);
}

TEST_F(NpuSession, RefusesAPlanOfAnotherModel) {
  bench_.plan.model_hash = "another";
  const auto executor =
      NpuExecutor::Create(bench_.plan, bench_.profile, bench_.model, *bench_.emulator, {}, {});
  EXPECT_FALSE(executor.ok());
}

TEST_F(NpuSession, LaunchesOneAtATimeOnTheTimelineAfterTheirSubmission) {
  const auto executor = bench_.Load();
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  const PrefillResult result = PrefillAll(*session, ids_);
  double npu_free_ms = 0;
  int64_t launches = 0;
  for (const TimelineSpan& span : result.timeline.spans) {
    if (span.engine != Engine::kNpu) continue;
    EXPECT_EQ(span.source, TimeSource::kModelled);
    EXPECT_GE(span.start_ms, npu_free_ms);
    npu_free_ms = span.end_ms;
    ++launches;
  }
  EXPECT_EQ(launches, result.counts.launches);
  EXPECT_GT(result.npu_energy_j, 0);
  EXPECT_GE(result.time_ms, npu_free_ms);
}

TEST_F(NpuSession, TellsTheObserverTheCountsOfEveryLayerAndChunk) {
  const auto executor = bench_.Load();
  Recorder recorder;
  const auto session =
      OpenSession(bench_.model, bench_.pool, {.npu = executor.get(), .observer = &recorder});
  const PrefillResult result = PrefillAll(*session, ids_);
  EXPECT_EQ(recorder.dispatches.size(), result.chunks.size() * 3);
}

}  // namespace
}  // namespace npumoe
