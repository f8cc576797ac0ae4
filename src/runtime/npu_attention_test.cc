// Attention and the vocabulary head on the emulated NPU against the CPU path, for all families, and
// what becomes of them when the device fails.
#include "runtime/npu_attention.h"

#include <gtest/gtest.h>

#include "plan/attention_shape.h"
#include "plan/dense_costs.h"
#include "runtime/dense_checks.h"
#include "runtime/faulty_device.h"
#include "runtime/npu_head.h"
#include "runtime/test_npu.h"
#include "runtime/test_routing.h"
#include "runtime/trace_recorder.h"

namespace npumoe {
namespace {

// Of the largest logit. Logits between queries and keys are fp16: rounded twice, one of size 16 is
// off by up to 2^-7, and so is its share of the softmax; the shares' errors average out over the
// keys but not over a few large ones. Three layers of that, besides what kFp16LogitError holds.
constexpr double kFp16AttentionError = 2e-2;

// No experts on the NPU: what differs is attention's and the head's.
HandMade DenseOnly(std::vector<int64_t> history_tokens) {
  HandMade wanted;
  wanted.first_expert = 1 << 20;
  wanted.shared = SharedPlace::kCpu;
  wanted.history_tokens = std::move(history_tokens);
  wanted.head_rows = {16, 64};
  return wanted;
}

// With every row of every launch held against the CPU's, behind whatever history and within its
// window; answers the report.
PlacementReport ExpectTheAnswerOfTheCpu(NpuBench& bench, std::span<const int32_t> ids) {
  NpuExecutorOptions options;
  options.verification = Verification::kEveryRow;
  const auto executor = bench.Load(options);
  if (executor == nullptr) return {};
  TraceRecorder npu_trace(bench.model->config), cpu_trace(bench.model->config);
  const auto npu =
      OpenSession(bench.model, bench.pool, {.npu = executor.get(), .observer = &npu_trace});
  const auto cpu = OpenSession(bench.model, bench.pool, {.observer = &cpu_trace});
  const std::vector<float> got = PrefillAll(*npu, ids).logits;
  const std::vector<float> wanted = PrefillAll(*cpu, ids).logits;
  // A token that fp16 sends to other experts is another computation (npu_path_test.cc).
  const size_t compared = FirstFlip(cpu_trace.Trace(), npu_trace.Trace()) *
                          static_cast<size_t>(bench.model->config.vocab_size);
  EXPECT_GT(compared, 0u);
  EXPECT_LE(RelativeError(std::span(got).first(compared), std::span(wanted).first(compared)),
            kFp16AttentionError);
  const PlacementReport report = executor->report();
  EXPECT_EQ(report.degradations(), 0);
  return report;
}

class DenseFamilies : public testing::TestWithParam<std::string> {};

TEST_P(DenseFamilies, AnswerAsOnTheCpu) {
  if (IsMissing(GetParam())) GTEST_SKIP() << GetParam() << " is not here";
  NpuBench bench(GetParam(), DenseOnly({0, 64, 192}));
  const PlacementReport report =
      ExpectTheAnswerOfTheCpu(bench, Expected(GetParam()).Ints("long.ids"));
  for (const ProgramPlacement& program : report.programs) {
    EXPECT_EQ(program.checks.rows, program.id.kind == ProgramKind::kHead ? 200 : 4 * 50);
  }
  EXPECT_EQ(report.LaunchesOf(ProgramKind::kAttention), 4 * bench.model->config.num_layers);
  EXPECT_EQ(report.LaunchesOf(ProgramKind::kHead), 4);
}

INSTANTIATE_TEST_SUITE_P(Families, DenseFamilies,
                         testing::Values("deepseek-v2", "deepseek-v2-yarn", "qwen3-moe",
                                         "qwen3-moe-mixed", "qwen3-moe-yarn", "gpt-oss",
                                         "granite-moe", "mixtral", "mixtral-window", "olmoe",
                                         "olmoe-clip", "phi-moe", "phi-tiny-moe", "qwen2-moe"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// As a GGUF has Llama's and Mixtral's: another model with these weights, the same on both sides.
TEST(NpuAttentionRotaryPairs, ThatLieSideBySideComeOutInTheOrderOfTheCache) {
  auto model = std::make_shared<Model>(*LoadForTest(GoldenFolder("qwen3-moe")));
  model->config.rope.pairs = RopePairs::kInterleaved;
  NpuBench bench(model, DenseOnly({0, 64, 192}));
  bench.plan.model_hash = model->hash = "pairs side by side";
  const PlacementReport report =
      ExpectTheAnswerOfTheCpu(bench, Expected("qwen3-moe").Ints("long.ids"));
  EXPECT_EQ(report.LaunchesOf(ProgramKind::kAttention), 4 * model->config.num_layers);
}

class NpuAttention : public testing::Test {
 protected:
  NpuAttention() : bench_("qwen3-moe", DenseOnly({0, 64, 192})), device_(*bench_.emulator) {
    ids_ = Expected("qwen3-moe").Ints("long.ids");
  }
  std::vector<float> Cpu(LogitsWanted wanted = LogitsWanted::kAllRows) {
    const auto session = OpenSession(bench_.model, bench_.pool);
    return PrefillAll(*session, ids_, wanted).logits;
  }
  void ExpectSameAnswer(NpuExecutor& executor) {
    const auto session = OpenSession(bench_.model, bench_.pool, {.npu = &executor});
    EXPECT_LE(RelativeError(PrefillAll(*session, ids_).logits, Cpu()), kFp16AttentionError);
  }
  static const ProgramPlacement& Of(const PlacementReport& report, const ProgramId& id) {
    for (const ProgramPlacement& program : report.programs) {
      if (program.id == id) return program;
    }
    ADD_FAILURE() << Describe(id) << " is not in the report";
    return report.programs.front();
  }

  static constexpr ProgramId kFirst{ProgramKind::kAttention, 0, 0};
  static constexpr ProgramId kHead{ProgramKind::kHead, 0, 0};
  NpuBench bench_;
  FaultyDevice device_;
  std::vector<int32_t> ids_;
};

TEST_F(NpuAttention, ContinuesOnTheCpuWithTheSameTokens) {
  const auto executor = bench_.Load();
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  const Expected expected("qwen3-moe");
  EXPECT_EQ(Greedy(*session, expected.Ints("short.ids"), 30), expected.Ints("short.greedy"));
}

TEST_F(NpuAttention, SecondTurnsAttendToTheFirst) {
  const auto executor = bench_.Load();
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  PrefillAll(*session, std::span(ids_).first(77));
  const std::vector<float> last =
      PrefillAll(*session, std::span(ids_).subspan(77), LogitsWanted::kLastRow).logits;
  EXPECT_LE(RelativeError(last, Cpu(LogitsWanted::kLastRow)), kFp16AttentionError);
}

TEST_F(NpuAttention, AttendsToWhatARewindLeft) {
  const auto executor = bench_.Load();
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  PrefillAll(*session, ids_);
  ASSERT_TRUE(session->Rewind(77).ok());
  const std::vector<float> last =
      PrefillAll(*session, std::span(ids_).subspan(77), LogitsWanted::kLastRow).logits;
  EXPECT_LE(RelativeError(last, Cpu(LogitsWanted::kLastRow)), kFp16AttentionError);
}

// The border of phi-tiny-moe's two sets of rotary frequencies lies at 64 tokens: the second turn
// computes the first again, with other tables.
TEST(NpuAttentionLongRope, ComputesAContextAgainThatGrowsOverTheBorder) {
  NpuBench bench("phi-tiny-moe", DenseOnly({0, 64, 192}));
  const auto ids = Expected("phi-tiny-moe").Ints("long.ids");
  NpuExecutorOptions options;
  options.verification = Verification::kEveryRow;
  const auto executor = bench.Load(options);
  const auto session = OpenSession(bench.model, bench.pool, {.npu = executor.get()});
  PrefillAll(*session, std::span(ids).first(50), LogitsWanted::kLastRow);
  const PrefillResult second =
      PrefillAll(*session, std::span(ids).subspan(50), LogitsWanted::kLastRow);
  EXPECT_EQ(second.computed_again, 50);
  const PlacementReport report = executor->report();
  EXPECT_EQ(report.degradations(), 0);
  for (const ProgramPlacement& program : report.programs) {
    if (program.id.kind != ProgramKind::kAttention) continue;
    EXPECT_EQ(program.checks.rows, 50 + 200);
    EXPECT_LE(program.checks.largest_relative, kAttendedErrorLimit);
  }
}

TEST_F(NpuAttention, LeavesChunksBehindTheLongestHistoryToTheCpuAndCountsThem) {
  bench_.plan.attention.history_tokens = {0, 64};
  const auto executor = bench_.Load();
  ExpectSameAnswer(*executor);
  const PlacementReport report = executor->report();
  EXPECT_EQ(report.degradations(), 0);
  EXPECT_EQ(Of(report, kFirst).launches, 2);
  EXPECT_EQ(Of(report, kFirst).filled_rows, 128);
  EXPECT_EQ(Of(report, kFirst).spilled_rows, 200 - 128);
}

TEST_F(NpuAttention, RunsBesideExpertsWithTwoChunksInFlight) {
  HandMade wanted;
  wanted.history_tokens = {0, 64, 192};
  wanted.head_rows = {16};
  NpuBench bench("qwen3-moe", wanted);
  const auto executor = bench.Load();
  const auto session = OpenSession(bench.model, bench.pool, {.npu = executor.get()});
  const PrefillResult result = PrefillAll(*session, ids_);
  EXPECT_LE(RelativeError(result.logits, Cpu()), kFp16AttentionError);
  EXPECT_EQ(result.counts.dropped_rows, 0);
  EXPECT_EQ(result.dense_launches, 4 * 3 + 13);
  const PlacementReport report = executor->report();
  EXPECT_EQ(report.LaunchesOf(ProgramKind::kAttention), 4 * 3);
  EXPECT_EQ(report.LaunchesOf(ProgramKind::kHead), 13);  // 64, 64, 64 and 8 rows in sixteens
  EXPECT_GT(Of(report, kFirst).checks.rows, 0);
  EXPECT_LE(Of(report, kFirst).checks.largest_relative, kAttendedErrorLimit);
}

TEST_F(NpuAttention, TakesTheTimeThatThePlannerPredicts) {
  const auto executor = bench_.Load();
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  PrefillAll(*session, std::span(ids_).first(64), LogitsWanted::kLastRow);
  const CostModel costs(bench_.model->config, bench_.profile, 2);
  const PlacementReport report = executor->report();
  const double attention_ms = AttentionLaunchCost(costs, 64, 0).total_ms();
  EXPECT_NEAR(Of(report, kFirst).npu_time_ms, attention_ms, 1e-9 * attention_ms);
  const double head_ms = HeadLaunchCost(costs, bench_.plan.head, 16).total_ms();
  EXPECT_NEAR(Of(report, kHead).npu_time_ms, head_ms, 1e-9 * head_ms);
}

TEST(NpuLatentAttention, TakesTheTimeThatThePlannerPredicts) {
  NpuBench bench("deepseek-v2-yarn", DenseOnly({0, 64, 192}));
  const auto ids = Expected("deepseek-v2-yarn").Ints("long.ids");
  const auto executor = bench.Load();
  const auto session = OpenSession(bench.model, bench.pool, {.npu = executor.get()});
  PrefillAll(*session, std::span(ids).first(128), LogitsWanted::kLastRow);
  const CostModel costs(bench.model->config, bench.profile, 2);
  const double ms =
      AttentionLaunchCost(costs, 64, 0).total_ms() + AttentionLaunchCost(costs, 64, 64).total_ms();
  for (const ProgramPlacement& program : executor->report().programs) {
    if (program.id.kind != ProgramKind::kAttention) continue;
    EXPECT_NEAR(program.npu_time_ms, ms, 1e-9 * ms);
  }
}

// What a launch that fails leaves in the cache is written again.
TEST(NpuLatentAttention, IsComputedAgainWhenTheDeviceFails) {
  NpuBench bench("deepseek-v2-yarn", DenseOnly({0, 64, 192}));
  const auto ids = Expected("deepseek-v2-yarn").Ints("long.ids");
  const auto cpu = OpenSession(bench.model, bench.pool);
  const std::vector<float> expected = PrefillAll(*cpu, ids).logits;
  for (const Fault fault : {Fault::kNan, Fault::kRefuse}) {
    FaultyDevice device(*bench.emulator);
    const auto sometimes = [fault](int call) { return call % 2 == 0 ? fault : Fault::kNone; };
    if (fault == Fault::kNan) device.on_wait = sometimes;
    if (fault == Fault::kRefuse) device.on_submit = sometimes;
    device.failure = IoError("the driver said no");
    const auto executor = bench.Load(device);
    const auto session = OpenSession(bench.model, bench.pool, {.npu = executor.get()});
    EXPECT_LE(RelativeError(PrefillAll(*session, ids).logits, expected), kFp16AttentionError);
    EXPECT_GT(executor->report().degradations(), 0);
  }
}

TEST_F(NpuAttention, IsComputedAgainWhenTheDeviceAnswersWithNan) {
  device_.on_wait = [](int call) { return call % 2 == 0 ? Fault::kNan : Fault::kNone; };
  const auto executor = bench_.Load(device_);
  ExpectSameAnswer(*executor);
  EXPECT_GT(executor->report().degradations(), 0);
}

TEST_F(NpuAttention, IsComputedAgainWhenTheLaunchFails) {
  device_.on_submit = [](int call) { return call % 3 == 1 ? Fault::kRefuse : Fault::kNone; };
  device_.failure = IoError("the driver said no");
  const auto executor = bench_.Load(device_);
  ExpectSameAnswer(*executor);
  const PlacementReport report = executor->report();
  EXPECT_GT(report.degradations(), 0);
  int64_t degraded = 0;
  for (const ProgramPlacement& program : report.programs) degraded += program.degraded_rows;
  EXPECT_GT(degraded, 0);
}

TEST_F(NpuAttention, OfARefusedProgramIsTheCpus) {
  device_.on_load = [](int call) { return call == 0 ? Fault::kRefuse : Fault::kNone; };
  const auto executor = bench_.Load(device_);
  ExpectSameAnswer(*executor);
  const PlacementReport report = executor->report();
  EXPECT_FALSE(Of(report, kFirst).loaded);
  EXPECT_EQ(Of(report, kFirst).degraded_rows, 200);
  EXPECT_EQ(report.degradations(), 1);
}

TEST_F(NpuAttention, AShorterHistoryThatIsRefusedIsServedByTheNext) {
  // Three layers and the head load their largest functions first, then layer 0 its shortest.
  device_.on_load = [](int call) { return call == 4 ? Fault::kRefuse : Fault::kNone; };
  const auto executor = bench_.Load(device_);
  ExpectSameAnswer(*executor);
  EXPECT_EQ(Of(executor->report(), kFirst).launches, 4);
}

TEST_F(NpuAttention, WithOtherWeightsIsNoticedAtTheFirstLaunch) {
  const std::vector<CompiledProgram> compiled = bench_.Compile();
  Plan other = bench_.plan;
  other.model_hash = bench_.model->hash;
  // Layer 1's package in the place of layer 0's: right shapes, other numbers.
  std::vector<CompiledProgram> swapped = compiled;
  const auto find = [&](int layer) {
    return std::find_if(swapped.begin(), swapped.end(), [&](const CompiledProgram& p) {
      return p.id == ProgramId{ProgramKind::kAttention, layer, 0};
    });
  };
  find(0)->package = find(1)->package;
  NpuExecutorOptions one_chunk;
  one_chunk.chunks_in_flight = 1;
  const auto executor = NpuExecutor::Create(other, bench_.profile, bench_.model, *bench_.emulator,
                                            swapped, one_chunk);
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  ExpectSameAnswer(**executor);
  const ProgramPlacement wrong = Of((*executor)->report(), kFirst);
  ASSERT_FALSE(wrong.degradations.empty());
  EXPECT_EQ(wrong.degradations[0].what, "first check");
  EXPECT_FALSE(wrong.in_service);
}

TEST_F(NpuAttention, ACancelledPrefillLeavesContextAndDeviceUsable) {
  const auto executor = bench_.Load();
  const auto session = OpenSession(bench_.model, bench_.pool, {.npu = executor.get()});
  int asked = 0;
  const auto cancelled =
      session->Prefill(ids_, LogitsWanted::kLastRow, [&] { return ++asked > 3; });
  EXPECT_EQ(cancelled.status().code(), StatusCode::kCancelled);
  EXPECT_LE(RelativeError(PrefillAll(*session, ids_).logits, Cpu()), kFp16AttentionError);
}

}  // namespace
}  // namespace npumoe
