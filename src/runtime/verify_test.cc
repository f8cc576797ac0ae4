#include "runtime/verify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "graph/mlpackage.h"
#include "runtime/faulty_device.h"
#include "runtime/test_npu.h"

namespace npumoe {
namespace {

class VerifyForms : public testing::TestWithParam<GraphForm> {};

TEST_P(VerifyForms, EveryProgramAgreesWithTheReferenceKernels) {
  HandMade wanted;
  wanted.form = GetParam();
  NpuBench bench("qwen3-moe", wanted);
  const auto executor = bench.Load();
  const std::vector<ProgramVerdict> verdicts = VerifyPrograms(*executor, {});
  ASSERT_EQ(verdicts.size(), 12u);
  for (const ProgramVerdict& verdict : verdicts) {
    EXPECT_TRUE(verdict.passed()) << Describe(verdict.id) << " " << verdict.status.message() << " "
                                  << verdict.error;
    EXPECT_GT(verdict.error, 0);
    EXPECT_EQ(verdict.rows, 4 * 16);
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, VerifyForms,
                         testing::Values(GraphForm::kGroupedConv, GraphForm::kBatchedMatmul,
                                         GraphForm::kDenseChains),
                         [](const testing::TestParamInfo<GraphForm>& form) {
                           return std::string(Name(form.param));
                         });

// A whole package of other numbers, as a wrong compiler would write it. (One that was damaged
// afterwards is not even loaded.)
void RewriteOneWeight(const std::filesystem::path& package) {
  auto read = ReadMlpackage(package);
  ASSERT_TRUE(read.ok()) << read.status().message();
  for (auto& [name, constant] : read->functions.front().constants) {
    auto* weight = std::get_if<WeightData>(&constant.value);
    if (weight == nullptr) continue;
    weight->produce = [view = weight->view](std::span<std::byte> bytes) {
      std::memcpy(bytes.data(), view.data, bytes.size());
      bytes[1] = std::byte{0x4c};  // 16 or more
      return OkStatus();
    };
    weight->view = {};
    break;
  }
  const Status written = WriteMlpackage(package, read->functions, read->metadata);
  ASSERT_TRUE(written.ok()) << written.message();
}

class Verify : public testing::Test {
 protected:
  Verify() : bench_("qwen3-moe", {}) {}

  // y of expert 0 of layer 0 for x = 1 everywhere.
  Result<ProgramRun> RunFirst(const std::map<std::string, TensorView>& inputs) {
    const CompiledProgram program = bench_.Compile().front();
    return RunProgram(program.package, program.function, *bench_.emulator, inputs);
  }
  std::vector<TensorSpec> FirstInputs() {
    auto program = bench_.emulator->Load(bench_.Compile().front().package, "main");
    return (*program)->inputs();
  }

  NpuBench bench_;
};

TEST_F(Verify, ChangedWeightsFail) {
  const ScratchFolder own_cache;
  bench_.cache = own_cache.path();
  const std::vector<CompiledProgram> compiled = bench_.Compile();
  RewriteOneWeight(compiled[1].package);
  auto executor = NpuExecutor::Create(bench_.plan, bench_.profile, bench_.model, *bench_.emulator,
                                      compiled, {});
  ASSERT_TRUE(executor.ok());
  const std::vector<ProgramVerdict> verdicts = VerifyPrograms(**executor, {});
  EXPECT_TRUE(verdicts[0].passed());
  EXPECT_FALSE(verdicts[1].passed());
  EXPECT_EQ(verdicts[1].worst_expert, 4);
}

// All other values of the answer are right, and follow the one that is not a number.
TEST_F(Verify, OneNanAtTheBeginningFails) {
  FaultyDevice device(*bench_.emulator);
  device.on_wait = [](int call) { return call == 1 ? Fault::kNan : Fault::kNone; };
  const auto executor = bench_.Load(device);
  const std::vector<ProgramVerdict> verdicts = VerifyPrograms(*executor, {});
  EXPECT_TRUE(verdicts[0].passed());
  EXPECT_FALSE(verdicts[1].passed());
  EXPECT_TRUE(std::isinf(verdicts[1].error));
  EXPECT_EQ(verdicts[1].worst_expert, executor->plan().layers[0].programs[1].experts[0].expert);
  EXPECT_TRUE(verdicts[2].passed());
}

TEST_F(Verify, TakesRecordedRows) {
  const auto executor = bench_.Load();
  std::vector<float> rows(64 * 3, 0.25f);
  rows[70] = -2;
  VerifyOptions options;
  options.rows = {rows.data(), 3, 64, 64};
  for (const ProgramVerdict& verdict : VerifyPrograms(*executor, options)) {
    EXPECT_TRUE(verdict.passed()) << verdict.error;
  }
}

TEST_F(Verify, LeavesTheFiguresOfPrefillsAlone) {
  const auto executor = bench_.Load();
  VerifyPrograms(*executor, {});
  const PlacementReport report = executor->report();
  EXPECT_EQ(report.programs[0].launches, 0);
  EXPECT_EQ(report.npu_time_ms, 0);
}

TEST_F(Verify, AProgramThatWasNotLoadedCarriesItsRefusal) {
  FaultyDevice device(*bench_.emulator);
  device.on_load = [](int call) { return call == 1 ? Fault::kRefuse : Fault::kNone; };
  const auto executor = bench_.Load(device);
  const std::vector<ProgramVerdict> verdicts = VerifyPrograms(*executor, {});
  EXPECT_FALSE(verdicts[1].passed());
  EXPECT_EQ(verdicts[1].status.message(), "refused by the test");
  EXPECT_TRUE(verdicts[2].passed());
}

TEST_F(Verify, RunsOneFunctionOnGivenInputs) {
  std::vector<float> ones(64 * 16, 1.0f);
  std::map<std::string, TensorView> inputs;
  for (const TensorSpec& spec : FirstInputs()) {
    inputs[spec.name] = {DType::kF32, spec.shape, reinterpret_cast<std::byte*>(ones.data())};
  }
  const auto run = RunFirst(inputs);
  ASSERT_TRUE(run.ok()) << run.status().message();
  ASSERT_EQ(run->outputs.size(), 4u);
  EXPECT_TRUE(run->report.modelled);
  for (const auto& [name, tensor] : run->outputs) {
    const auto* values = tensor.view().as<uint16_t>();
    EXPECT_EQ(values[0], values[15]) << name;  // equal rows give equal outputs
    EXPECT_NE(values[0], 0) << name;
  }
}

TEST_F(Verify, NamesAMissingInput) {
  const auto run = RunFirst({});
  ASSERT_FALSE(run.ok());
  EXPECT_NE(run.status().message().find("input '" + FirstInputs()[0].name), std::string::npos);
}

TEST_F(Verify, NamesAnInputThatTheProgramDoesNotHave) {
  std::vector<float> one(1);
  const auto run =
      RunFirst({{"surplus", {DType::kF32, Shape{1}, reinterpret_cast<std::byte*>(one.data())}}});
  ASSERT_FALSE(run.ok());
  EXPECT_NE(run.status().message().find("'surplus'"), std::string::npos);
}

TEST_F(Verify, NamesAMisshapenInput) {
  std::vector<float> few(64);
  std::map<std::string, TensorView> inputs;
  for (const TensorSpec& spec : FirstInputs()) {
    inputs[spec.name] = {DType::kF32, Shape{1, 64, 1, 1}, reinterpret_cast<std::byte*>(few.data())};
  }
  const auto run = RunFirst(inputs);
  ASSERT_FALSE(run.ok());
  EXPECT_NE(run.status().message().find("[1, 64, 1, 1]"), std::string::npos);
}

}  // namespace
}  // namespace npumoe
