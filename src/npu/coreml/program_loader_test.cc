// From package to program over the double of Core ML: cache, retries, time limits, placement.
#include "npu/coreml/program_loader.h"

#include <fstream>
#include <thread>

#include "base/mapped_file.h"
#include "graph/testing/package_files.h"
#include "npu/coreml/testing/coreml_testing.h"
#include "npu/coreml/verified_record.h"

namespace npumoe::coreml_device {
namespace {

using emulator::Bound;

const Failure kGeneric = {"com.apple.CoreML", 0, "Failed to build the model execution plan"};

class ProgramLoaderTest : public CoremlTest {
 protected:
  std::filesystem::path LargestCompiledFile() const {
    return testing::WeightFile(Entry() / "model.mlmodelc");
  }
};

TEST_F(ProgramLoaderTest, ASecondStartNeitherCompilesNorAsksForThePlan) {
  const auto package = Package();
  Loaded(*MakeDevice(), package);
  EXPECT_EQ(bridge_->compiles, 1);
  EXPECT_EQ(bridge_->plans, 1);
  Bound bound(Loaded(*MakeDevice(), package));
  EXPECT_EQ(bridge_->compiles, 1);
  EXPECT_EQ(bridge_->plans, 1);
  EXPECT_EQ(bridge_->predictions, 6);  // the chip has to wake up each time
}

TEST_F(ProgramLoaderTest, ACompiledModelStaysAtItsPath) {
  const auto package = Package();
  Loaded(*MakeDevice(), package);
  const auto entry = Entry();
  Loaded(*MakeDevice(), package);
  EXPECT_EQ(Entry(), entry);
}

TEST_F(ProgramLoaderTest, APackageOfTheSameContentElsewhereIsTheSame) {
  Loaded(*MakeDevice(), Package("a.mlpackage"));
  Loaded(*MakeDevice(), Package("b.mlpackage"));
  EXPECT_EQ(bridge_->compiles, 1);
}

TEST_F(ProgramLoaderTest, AnotherContentIsCompiled) {
  Loaded(*MakeDevice(), Package());
  const auto other =
      emulator::WritePackage(folder_, {ExpertFunction("main", 16)}, "other.mlpackage");
  Loaded(*MakeDevice(), other);
  EXPECT_EQ(bridge_->compiles, 2);
}

TEST_F(ProgramLoaderTest, AnotherOsBuildCompilesAgainAndDropsTheOldModel) {
  const auto package = Package();
  Loaded(*MakeDevice(), package);
  const auto old = Entry();
  bridge_->script.facts.os_build = "24G90";
  Loaded(*MakeDevice(), package);
  EXPECT_EQ(bridge_->compiles, 2);
  EXPECT_NE(Entry(), old);
}

TEST_F(ProgramLoaderTest, AnotherChipKeepsTheModelAndVerifiesAgain) {
  const auto package = Package();
  Loaded(*MakeDevice(), package);
  bridge_->script.facts.chip = "Apple M4";
  Loaded(*MakeDevice(), package);
  EXPECT_EQ(bridge_->compiles, 1);
  EXPECT_EQ(bridge_->plans, 2);
}

TEST_F(ProgramLoaderTest, NothingIsKeptWithoutACacheFolder) {
  options_.cache_dir.clear();
  const auto package = Package();
  auto device = MakeDevice();
  auto program = Loaded(*device, package);
  Loaded(*device, package);
  EXPECT_EQ(bridge_->compiles, 1);  // one device shares what it has
  device.reset();
  program.reset();
  Loaded(*MakeDevice(), package);
  EXPECT_EQ(bridge_->compiles, 2);
}

TEST_F(ProgramLoaderTest, FunctionsOfAPackageShareItsModel) {
  const auto package = emulator::WritePackage(
      folder_, {ExpertFunction("c8", 8), ExpertFunction("c16", 16)}, "buckets.mlpackage");
  const auto device = MakeDevice();
  const auto small = Loaded(*device, package, "c8"), large = Loaded(*device, package, "c16");
  EXPECT_EQ(small->inputs()[0].shape, (Shape{1, 32, 1, 8}));
  EXPECT_EQ(large->inputs()[0].shape, (Shape{1, 32, 1, 16}));
  EXPECT_EQ(bridge_->compiles, 1);
  EXPECT_EQ(bridge_->plans, 2);
  EXPECT_EQ(LoadStatus(*device, package, "c32").code(), StatusCode::kNotFound);
}

TEST_F(ProgramLoaderTest, ADamagedModelIsCompiledAgain) {
  const auto package = Package();
  const std::vector<std::function<void()>> damages = {
      [&] { std::filesystem::remove(LargestCompiledFile()); },
      [&] { std::filesystem::resize_file(LargestCompiledFile(), 100); },
      [&] { testing::WriteBytes(testing::ModelFile(Entry() / "model.mlmodelc"), "zeros"); },
      [&] { testing::WriteBytes(Entry() / "model.mlmodelc" / "one more", "file"); },
      [&] { testing::WriteBytes(Entry() / "contents.json", "{"); },
      [&] { std::filesystem::remove_all(Entry() / "model.mlmodelc"); },
  };
  Loaded(*MakeDevice(), package);
  for (size_t i = 0; i < damages.size(); ++i) {
    damages[i]();
    Bound bound(Loaded(*MakeDevice(), package));
    EXPECT_EQ(bridge_->compiles, static_cast<int>(i) + 2) << "damage " << i;
  }
}

TEST_F(ProgramLoaderTest, ADamagedRecordIsMadeAgain) {
  const auto package = Package();
  Loaded(*MakeDevice(), package);
  for (const std::string text : {"", "{", "[]", R"({"format":"npumoe-verified","version":2})"}) {
    testing::WriteBytes(Entry() / "verified.json", text);
    const int plans = bridge_->plans;
    Loaded(*MakeDevice(), package);
    EXPECT_EQ(bridge_->plans, plans + 1) << text;
  }
  EXPECT_EQ(bridge_->compiles, 1);
}

TEST_F(ProgramLoaderTest, AVerifiedModelThatNoLongerLoadsIsCompiledAgain) {
  const auto package = Package();
  Loaded(*MakeDevice(), package);
  bridge_->script.load_failures = {kGeneric};
  Loaded(*MakeDevice(), package);
  EXPECT_EQ(bridge_->compiles, 2);
  EXPECT_TRUE(pauses_.empty());
}

TEST_F(ProgramLoaderTest, AModelInUseIsNotCompiledAgainButTriedAfterAPause) {
  const auto package = Package();
  const auto device = MakeDevice();
  const auto in_use = Loaded(*device, package);
  bridge_->script.load_failures = {kGeneric};
  Loaded(*device, package);
  EXPECT_EQ(bridge_->compiles, 1);
}

TEST_F(ProgramLoaderTest, AFailedCompileIsTriedOnceMoreAfterAPause) {
  bridge_->script.compile_failures = {kGeneric};
  Loaded(*MakeDevice(), Package());
  EXPECT_EQ(bridge_->compiles, 2);
  EXPECT_EQ(pauses_, std::vector<double>{15e3});
}

TEST_F(ProgramLoaderTest, AFailedFirstLoadIsTriedOnceMoreAfterAPause) {
  bridge_->script.load_failures = {kGeneric};
  Loaded(*MakeDevice(), Package());
  EXPECT_EQ(bridge_->loads, 2);
  EXPECT_EQ(bridge_->compiles, 1);
  EXPECT_EQ(pauses_, std::vector<double>{15e3});
}

TEST_F(ProgramLoaderTest, ACompileThatFailsTwiceIsARefusalWithTheReason) {
  bridge_->script.compile_failures = {kGeneric, kGeneric};
  const Status status = LoadStatus(*MakeDevice(), Package());
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("function 'main': compile: Failed to build the model execution "
                                  "plan (com.apple.CoreML 0); the same after 15 s"),
            std::string::npos)
      << status.message();
}

TEST_F(ProgramLoaderTest, APauseThatDidNotHelpIsNotMadeForEveryProgram) {
  const auto device = MakeDevice();
  const auto package = Package();
  bridge_->script.compile_failures = {kGeneric, kGeneric, kGeneric};
  EXPECT_FALSE(LoadStatus(*device, package).ok());
  EXPECT_FALSE(LoadStatus(*device, package).ok());
  EXPECT_EQ(pauses_.size(), 1u);
  EXPECT_TRUE(LoadStatus(*device, package).ok());  // and a success brings it back
  bridge_->script.load_failures = {kGeneric};
  const auto other =
      emulator::WritePackage(folder_, {ExpertFunction("main", 16)}, "other.mlpackage");
  EXPECT_TRUE(LoadStatus(*device, other).ok());
  EXPECT_EQ(pauses_.size(), 2u);
}

TEST_F(ProgramLoaderTest, WhatIsTooLargeIsNotTriedAgain) {
  bridge_->script.load_failures = {{"com.apple.CoreML", 0, "ANE: status=0x20004"}};
  const Status status = LoadStatus(*MakeDevice(), Package());
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("program-too-large"), std::string::npos);
  EXPECT_TRUE(pauses_.empty());
}

TEST_F(ProgramLoaderTest, ACompileThatPassesItsLimitGoesOnAndServesTheNextLoad) {
  options_.compile_limit_ms = 1;
  const auto package = Package();
  bridge_->Hold(FakeBridge::Kind::kCompile);
  const auto device = MakeDevice();
  EXPECT_EQ(LoadStatus(*device, package).code(), StatusCode::kDeadlineExceeded);
  bridge_->Release();
  bridge_->WaitUntilIdle();
  EXPECT_TRUE(LoadStatus(*device, package).ok());
  EXPECT_EQ(bridge_->compiles, 1);
}

TEST_F(ProgramLoaderTest, ALoadThatPassesItsLimitIsDroppedWhenItComes) {
  options_.load_limit_ms = 1;
  bridge_->Hold(FakeBridge::Kind::kLoad);
  EXPECT_EQ(LoadStatus(*MakeDevice(), Package()).code(), StatusCode::kDeadlineExceeded);
  bridge_->Release();
  bridge_->WaitUntilIdle();
  EXPECT_EQ(bridge_->models, 0);
}

TEST_F(ProgramLoaderTest, APlanThatPassesItsLimitIsATimeLimit) {
  options_.load_limit_ms = 1;
  bridge_->Hold(FakeBridge::Kind::kPlan);
  EXPECT_EQ(LoadStatus(*MakeDevice(), Package()).code(), StatusCode::kDeadlineExceeded);
  bridge_->Release();
  bridge_->WaitUntilIdle();
}

TEST_F(ProgramLoaderTest, AFirstRunThatPassesItsLimitOrFailsLeavesTheProgramUnverified) {
  options_.first_run_limit_ms = 1;
  const auto package = Package();
  const auto device = MakeDevice();
  bridge_->Hold(FakeBridge::Kind::kPredict);
  EXPECT_EQ(LoadStatus(*device, package).code(), StatusCode::kDeadlineExceeded);
  bridge_->Release();
  bridge_->WaitUntilIdle();
  EXPECT_EQ(bridge_->models, 0);
  bridge_->script.predict_failures = {kGeneric};
  const Status failed = LoadStatus(*device, package);
  EXPECT_NE(failed.message().find("first run: prediction: "), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(Entry() / "verified.json"));
}

TEST_F(ProgramLoaderTest, ProductsOnTheCpuAreRefusedWithTheReasonAndThatIsRemembered) {
  bridge_->script.elsewhere = {"conv", "silu"};
  const auto package = Package();
  const Status status = LoadStatus(*MakeDevice(), package);
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("placed-elsewhere: 4 of 5 operations are not on the Neural "
                                  "Engine, 3 of them products, first conv '"),
            std::string::npos)
      << status.message();
  EXPECT_EQ(bridge_->loads, 0);
  EXPECT_EQ(MakeDevice()->Supports(package, "main").code(), StatusCode::kUnsupported);
  EXPECT_EQ(LoadStatus(*MakeDevice(), package).code(), StatusCode::kUnsupported);
  EXPECT_EQ(bridge_->loads, 0);
  EXPECT_EQ(bridge_->plans, 1);
}

TEST_F(ProgramLoaderTest, ProductsOnTheCpuCanBeAllowedAndAreListed) {
  bridge_->script.elsewhere = {"conv"};
  options_.cpu_products = CpuProducts::kAllowed;
  const auto package = Package();
  Loaded(*MakeDevice(), package);
  const auto program = Loaded(*MakeDevice(), package);  // also from the record
  const auto plan = program->compute_plan();
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->operations, 5);
  EXPECT_EQ(plan->on_device, 2);
  EXPECT_EQ(plan->elsewhere.substr(0, 6), "conv '");
  EXPECT_EQ(std::count(plan->elsewhere.begin(), plan->elsewhere.end(), ';'), 2);
}

TEST_F(ProgramLoaderTest, OtherOperationsOnTheCpuAreListedAndAccepted) {
  bridge_->script.elsewhere = {"silu"};
  const auto program = Loaded(*MakeDevice(), Package());
  EXPECT_EQ(program->compute_plan()->on_device, 4);
}

TEST_F(ProgramLoaderTest, AProgramWhosePlacementIsUnknownIsAcceptedAndSaysSo) {
  bridge_->script.plan_failures = {kGeneric};
  EXPECT_FALSE(Loaded(*MakeDevice(), Package())->compute_plan().has_value());
  bridge_->script.tells_placement = false;
  const auto other =
      emulator::WritePackage(folder_, {ExpertFunction("main", 16)}, "other.mlpackage");
  EXPECT_FALSE(Loaded(*MakeDevice(), other)->compute_plan().has_value());
}

TEST_F(ProgramLoaderTest, AProgramThatTookTwoProcessesDownIsNotTriedAThirdTime) {
  const auto package = Package();
  Loaded(*MakeDevice(), package);
  std::filesystem::remove(Entry() / "verified.json");
  const auto mark = LoadAttempt::MarkOf(Entry(), "main");
  testing::WriteBytes(mark, "1");  // as a process leaves it that dies
  Loaded(*MakeDevice(), package);
  EXPECT_FALSE(std::filesystem::exists(mark));
  std::filesystem::remove(Entry() / "verified.json");
  testing::WriteBytes(mark, "2");
  const Status status = LoadStatus(*MakeDevice(), package);
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("quarantined: 2 processes ended"), std::string::npos);
  EXPECT_NE(status.message().find(mark.string()), std::string::npos);
}

TEST_F(ProgramLoaderTest, TheMarkOfALoadStandsWhileItRuns) {
  options_.load_limit_ms = kLongMs;
  const auto package = Package();
  bridge_->Hold(FakeBridge::Kind::kLoad);
  const auto device = MakeDevice();
  Status loaded;
  std::thread thread([&] { loaded = LoadStatus(*device, package); });
  while (bridge_->loads == 0) std::this_thread::yield();
  EXPECT_EQ(ReadTextFile(LoadAttempt::MarkOf(Entry(), "main"), 10).value(), "1");
  bridge_->Release();
  thread.join();
  EXPECT_TRUE(loaded.ok());
  EXPECT_FALSE(std::filesystem::exists(LoadAttempt::MarkOf(Entry(), "main")));
}

TEST_F(ProgramLoaderTest, LimitsOfTheProfileRefuseBeforeAnythingIsCompiled) {
  const auto package = Package();
  profile_.limits.max_program_bytes = 1000;
  const Status large = LoadStatus(*MakeDevice(), package);
  EXPECT_EQ(large.code(), StatusCode::kResourceExhausted);
  profile_ = emulator::TestProfile();
  profile_.limits.max_weight_file_bytes = 1000;
  EXPECT_EQ(LoadStatus(*MakeDevice(), package).code(), StatusCode::kResourceExhausted);
  profile_ = emulator::TestProfile();
  profile_.limits.refused_ops = {"silu"};
  EXPECT_EQ(LoadStatus(*MakeDevice(), package).code(), StatusCode::kUnsupported);
  EXPECT_EQ(MakeDevice()->Supports(package, "main").code(), StatusCode::kUnsupported);
  EXPECT_EQ(bridge_->compiles, 0);
}

TEST_F(ProgramLoaderTest, LoadsAtTheSameTimeCannotPassTheLimitOfProgramsTogether) {
  profile_.limits.max_programs = 3;
  const auto package = Package();
  const auto device = MakeDevice();
  std::vector<std::unique_ptr<Program>> programs(8);
  std::vector<std::thread> threads;
  for (auto& program : programs) {
    threads.emplace_back([&] {
      auto loaded = device->Load(package, "main");
      if (loaded.ok()) program = *std::move(loaded);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto is_loaded = [](const auto& program) { return program != nullptr; };
  EXPECT_EQ(std::count_if(programs.begin(), programs.end(), is_loaded), 3);
  EXPECT_EQ(bridge_->compiles, 1);
  EXPECT_EQ(device->Supports(package, "main").code(), StatusCode::kResourceExhausted);
  programs.clear();
  EXPECT_TRUE(device->Supports(package, "main").ok());
}

TEST_F(ProgramLoaderTest, TellsHowLongALoadTook) {
  const auto device = MakeDevice();
  bridge_->script.compile_failures = {kGeneric};
  EXPECT_GE(Loaded(*device, Package())->load_report().time_ms, 0);
  EXPECT_FALSE(Loaded(*device, Package())->load_report().modelled);
}

}  // namespace
}  // namespace npumoe::coreml_device
