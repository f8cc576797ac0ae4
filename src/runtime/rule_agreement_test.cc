// Rules of the validator where they are used: what compile would write loads on the emulated NPU
// of the same profile, what it refuses is refused there for the same rule, before and without
// anything being written.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "graph/mlpackage.h"
#include "graph/testing/rule_pairs.h"
#include "graph/validator/rules.h"
#include "runtime/test_npu.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

using testing::Emulated;
using testing::RulePair;

// A chip with exactly these limits.
ChipProfile ProfileWith(const GraphLimits& limits) {
  ChipProfile profile = ProfileForTest();
  profile.limits.max_axis = limits.max_axis;
  profile.limits.max_channels = limits.max_channels;
  profile.limits.max_rank = limits.max_rank;
  profile.limits.max_program_bytes = limits.max_program_bytes;
  profile.limits.max_weight_file_bytes = limits.max_weight_file_bytes;
  profile.limits.refused_ops = limits.refused_ops;
  profile.limits.refused_forms.clear();
  profile.limits.graph = limits;
  return profile;
}

bool Names(const Status& status, const std::string& rule) {
  return status.message().find(rule + ": ") != std::string::npos;
}

const Rule& RuleOf(const std::string& id) {
  for (const Rule& rule : ValidatorRules()) {
    if (id == rule.id) return rule;
  }
  NPUMOE_CHECK(!"a rule of the table");
  return ValidatorRules().front();
}

class RuleAgreement : public ::testing::Test {
 protected:
  // What the emulated NPU says to a package of this graph, twice the same.
  Status LoadOn(const ChipProfile& profile, const fs::path& package) {
    const auto device = *MakeEmulator(profile, pool_, {});
    const Status supported = device->Supports(package, "main");
    const Status loaded = device->Load(package, "main").status();
    EXPECT_EQ(supported.code(), loaded.code()) << supported.message() << loaded.message();
    EXPECT_EQ(supported.message(), loaded.message());
    return loaded;
  }

  void ExpectRefused(const RulePair& pair) {
    const ChipProfile profile = ProfileWith(pair.limits);
    const Status compile = CheckProgramLimits(pair.broken, 1, profile);
    EXPECT_EQ(compile.code(), StatusCode::kUnsupported) << pair.rule;
    EXPECT_TRUE(Names(compile, pair.rule)) << compile.message();
    const fs::path package = folder_.path() / "broken.mlpackage";
    if (!WriteMlpackage(package, {&pair.broken, 1}, {}).ok()) {
      EXPECT_FALSE(fs::exists(package)) << pair.rule;
      return;  // graphs that this program cannot even express
    }
    const Status loaded = LoadOn(profile, package);
    EXPECT_FALSE(loaded.ok()) << pair.rule;
    EXPECT_TRUE(Names(loaded, pair.rule)) << loaded.message();
    fs::remove_all(package);
  }

  void ExpectLoaded(const Graph& graph, const RulePair& pair) {
    const ChipProfile profile = ProfileWith(pair.limits);
    const Status compile = CheckProgramLimits(graph, 1, profile);
    EXPECT_TRUE(compile.ok()) << pair.rule << ": " << compile.message();
    const fs::path package = folder_.path() / "kept.mlpackage";
    const Status written = WriteMlpackage(package, {&graph, 1}, {});
    ASSERT_TRUE(written.ok()) << pair.rule << ": " << written.message();
    const Status loaded = LoadOn(profile, package);
    EXPECT_TRUE(loaded.ok()) << pair.rule << ": " << loaded.message();
    fs::remove_all(package);
  }

  ScratchFolder folder_;
  ThreadPool pool_{1};
};

TEST_F(RuleAgreement, WhatBreaksAnErrorsRuleIsRefusedByCompileAndDevice) {
  for (const RulePair& pair : testing::RulePairs()) {
    if (RuleOf(pair.rule).severity == Severity::kError) ExpectRefused(pair);
  }
}

TEST_F(RuleAgreement, WhatKeepsARuleIsTakenByCompileAndLoads) {
  for (const RulePair& pair : testing::RulePairs()) {
    if (pair.emulated == Emulated::kYes) ExpectLoaded(pair.kept, pair);
  }
}

TEST_F(RuleAgreement, WarningsRefuseNothing) {
  for (const RulePair& pair : testing::RulePairs()) {
    if (RuleOf(pair.rule).severity == Severity::kError) continue;
    if (pair.emulated == Emulated::kNo || pair.rule == "fused-attention") continue;
    ExpectLoaded(pair.broken, pair);
  }
}

// What no graph by itself breaks: one prompt's packages beyond the limit, and just within it.
class RulesOfPlansAndDevices : public ::testing::Test {
 protected:
  RulesOfPlansAndDevices() : bench_("qwen3-moe", {.per_program = 8}) {}

  // Loads so many programs.
  Status LoadPrograms(int64_t count) {
    const auto compiled = bench_.Compile();
    const auto device = *MakeEmulator(bench_.profile, bench_.pool, {});
    std::vector<std::unique_ptr<Program>> programs;
    for (int64_t i = 0; i < count; ++i) {
      auto loaded = device->Load(compiled.front().package, "main");
      if (!loaded.ok()) return loaded.status();
      programs.push_back(*std::move(loaded));
    }
    return OkStatus();
  }

  // Submits so many launches before the first is waited for.
  Status LaunchAtOnce(int64_t count) {
    const auto compiled = bench_.Compile();
    const auto device = *MakeEmulator(bench_.profile, bench_.pool, {});
    const auto program = *device->Load(compiled.front().package, "main");
    std::vector<std::unique_ptr<DeviceBuffer>> buffers;
    std::vector<DeviceBuffer*> in, out;
    for (const TensorSpec& spec : program->inputs()) {
      buffers.push_back(*program->Allocate(spec));
      in.push_back(buffers.back().get());
    }
    for (const TensorSpec& spec : program->outputs()) {
      buffers.push_back(*program->Allocate(spec));
      out.push_back(buffers.back().get());
    }
    for (int64_t i = 0; i < count; ++i) {
      const auto id =
          device->Submit({.program = program.get(), .inputs = in, .outputs = out, .rows = {}});
      if (!id.ok()) return id.status();
    }
    return OkStatus();
  }

  Status CompileWithout(const char* form) {
    bench_.profile.limits.refused_forms = {form};
    const ScratchFolder cache;
    const Status status =
        CompilePlan(bench_.plan, *bench_.model, bench_.profile, cache.path()).status();
    EXPECT_EQ(status.ok(), !fs::is_empty(cache.path()));
    return status;
  }

  NpuBench bench_;
};

TEST_F(RulesOfPlansAndDevices, HaveAPairEach) {
  struct Pair {
    std::function<Status()> broken, kept;
  };
  bench_.profile.limits.max_programs = 3;
  bench_.profile.limits.max_requests_in_flight = 4;
  std::map<std::string, Pair> pairs = {
      {"too-many-programs", {[&] { return LoadPrograms(4); }, [&] { return LoadPrograms(3); }}},
      {"requests-in-flight", {[&] { return LaunchAtOnce(5); }, [&] { return LaunchAtOnce(4); }}},
      {"refused-form", {[&] { return CompileWithout("C"); }, [&] { return CompileWithout("B"); }}},
  };
  std::set<std::string> paired, in_table;
  for (const auto& [rule, pair] : pairs) {
    paired.insert(rule);
    EXPECT_FALSE(pair.broken().ok()) << rule;
    const Status kept = pair.kept();
    EXPECT_TRUE(kept.ok()) << rule << ": " << kept.message();
  }
  for (const Rule& rule : ValidatorRules()) {
    if (rule.by == CheckedBy::kPlan || rule.by == CheckedBy::kDevice) in_table.insert(rule.id);
  }
  EXPECT_EQ(paired, in_table);
}

// Through CompilePlan itself: whatever limit of the chip an expert program breaks, the refusal
// names rule and place, and no package is there.
TEST_F(RulesOfPlansAndDevices, CompileWritesNothingThatBreaksALimit) {
  const std::map<std::string, std::function<void(NpuLimits&)>> limits = {
      {"channels-too-many", [](NpuLimits& l) { l.max_channels = 32; }},
      {"rank-too-high", [](NpuLimits& l) { l.max_rank = 3; }},
      {"refused-operation", [](NpuLimits& l) { l.refused_ops = {"silu"}; }},
      {"activation-type", [](NpuLimits& l) { l.graph.activation_types = {"I8"}; }},
      {"system-too-old", [](NpuLimits& l) { l.graph.system_version = 12; }},
      {"program-too-large", [](NpuLimits& l) { l.max_program_bytes = 1000; }},
      {"weight-file-too-large", [](NpuLimits& l) { l.max_weight_file_bytes = 1000; }},
  };
  for (const auto& [rule, adjust] : limits) {
    ChipProfile profile = bench_.profile;
    adjust(profile.limits);
    const ScratchFolder cache;
    const Status status = CompilePlan(bench_.plan, *bench_.model, profile, cache.path()).status();
    ASSERT_FALSE(status.ok()) << rule;
    EXPECT_TRUE(fs::is_empty(cache.path())) << rule;
    EXPECT_TRUE(Names(status, rule)) << status.message();
    EXPECT_NE(status.message().find("layer 0, program 0"), std::string::npos) << rule;
  }
}

}  // namespace
}  // namespace npumoe
