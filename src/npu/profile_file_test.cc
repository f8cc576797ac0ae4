#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "npu/profile.h"

namespace npumoe {
namespace {

std::string ValidText() {
  std::ostringstream text;
  text << std::ifstream(NPUMOE_SOURCE_DIR "/chips/m2-max.toml").rdbuf();
  return text.str();
}

std::string Replaced(const std::string& from, const std::string& to) {
  std::string text = ValidText();
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ProfileFile, HasTheValuesThatStandInIt) {
  const Result<ChipProfile> profile = ParseChipProfile(ValidText(), "m2-max.toml");
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  EXPECT_EQ(profile->npu.stream_gb_per_s.value, 62.0);
  EXPECT_EQ(profile->npu.stream_gb_per_s.provenance, Provenance::kMeasured);
  EXPECT_EQ(profile->npu.stream_gb_per_s.spread, 0.1);
  EXPECT_EQ(profile->npu.stream_gb_per_s.source.substr(0, 12), "anemll-bench");
  ASSERT_EQ(profile->npu.tflops.size(), 2u);
  EXPECT_EQ(profile->npu.tflops[1].rows, 32);
  EXPECT_EQ(profile->cpu.threads, 12);
  EXPECT_EQ(profile->memory_bytes.value, 64.0 * 1024 * 1024 * 1024);
}

TEST(ProfileFile, MaySayHowNpuAndCpuSlowEachOtherDown) {
  const auto without = ParseChipProfile(ValidText(), "x.toml");
  EXPECT_EQ(OverlapOf(*without).npu, 1);
  EXPECT_EQ(OverlapOf(*without).cpu, 1);
  const std::string fields = " = { value = 1.5, provenance = \"measured\", source = \"s\" }\n";
  const auto with = ParseChipProfile(
      Replaced("[cpu]", "slowdown_beside_cpu" + fields + "[cpu]\nslowdown_beside_npu" + fields),
      "x.toml");
  ASSERT_TRUE(with.ok()) << with.status().message();
  EXPECT_EQ(OverlapOf(*with).npu, 1.5);
  EXPECT_EQ(OverlapOf(*with).cpu, 1.5);
}

TEST(ProfileFile, HashFollowsTheText) {
  EXPECT_NE(ParseChipProfile(ValidText(), "a")->hash,
            ParseChipProfile(ValidText() + "\n", "a")->hash);
}

struct Mistake {
  const char* what;
  const char* from;
  const char* to;
  const char* words;  // in the message
};

class ProfileMistake : public testing::TestWithParam<Mistake> {};

TEST_P(ProfileMistake, IsRefusedWithFileAndKey) {
  const Mistake& mistake = GetParam();
  const Result<ChipProfile> profile =
      ParseChipProfile(Replaced(mistake.from, mistake.to), "x.toml");
  ASSERT_FALSE(profile.ok());
  EXPECT_EQ(profile.status().code(), StatusCode::kInvalidInput);
  EXPECT_EQ(profile.status().message().rfind("x.toml:", 0), 0u) << profile.status().message();
  EXPECT_NE(profile.status().message().find(mistake.words), std::string::npos)
      << profile.status().message();
}

INSTANTIATE_TEST_SUITE_P(
    Mistakes, ProfileMistake,
    testing::Values(
        Mistake{"Syntax", "[npu]", "[npu", "x.toml:"},
        Mistake{"UnknownTable", "[npu]", "[gpu]", "'npu': is missing"},
        Mistake{"UnknownKey", "sync_ms =", "synch_ms =", "'npu.sync_ms': is missing"},
        Mistake{"ExtraKey", "[cpu]", "turbo = 1\n[cpu]", "'npu.turbo': is not a key"},
        Mistake{"ExtraField", "sync_ms = { value", "sync_ms = { unit = \"s\", value",
                "'npu.sync_ms.unit': is not a key"},
        Mistake{"PlainNumber", "sync_ms = { value = 0.2", "sync_ms = 0.2 #", "is no table"},
        Mistake{"Text", "sync_ms = { value = 0.2", "sync_ms = { value = \"0.2\"", "is no number"},
        Mistake{"Negative", "sync_ms = { value = 0.2", "sync_ms = { value = -0.2", "from 0"},
        Mistake{"Zero", "stream_gb_per_s = { value = 62.0", "stream_gb_per_s = { value = 0.0",
                "above 0"},
        Mistake{"Infinite", "stream_gb_per_s = { value = 62.0", "stream_gb_per_s = { value = inf",
                "'inf' is no value of a profile"},
        Mistake{"Nan", "stream_gb_per_s = { value = 62.0", "stream_gb_per_s = { value = nan",
                "'nan' is no value of a profile"},
        Mistake{"NoSource",
                "spread = 0.1, source = \"anemll-bench, 1.05 GB fp16 head through Core "
                "ML\"",
                "spread = 0.1", "'npu.stream_gb_per_s.source': is missing"},
        Mistake{"EmptySource", "source = \"anemll-bench, 1.05 GB fp16 head through Core ML\"",
                "source = \"\"", "source"},
        Mistake{"Provenance", "provenance = \"measured\", spread = 0.1",
                "provenance = \"guessed\", spread = 0.1", "measured, declared, assumed"},
        Mistake{"Spread", "spread = 0.1", "spread = 1.5", "spread"},
        Mistake{"RowsNotAscending", "{ rows = 32, value = 4.5", "{ rows = 16, value = 4.5",
                "must grow"},
        Mistake{"NoPoints", "gflops = [", "gflops = []\nother = [", "is no list of points"},
        Mistake{"Speedup", "[cpu]",
                "slowdown_beside_cpu = { value = 0.5, provenance = \"measured\", source = \"s\" "
                "}\n[cpu]",
                "'npu.slowdown_beside_cpu"},
        Mistake{"HalfAProgram", "max_programs = { value = 120", "max_programs = { value = 120.5",
                "whole number"},
        Mistake{"NoPrograms", "max_programs = { value = 120", "max_programs = { value = 0",
                "max_programs"},
        Mistake{"HugeRank", "max_rank = { value = 5", "max_rank = { value = 9", "max_rank"},
        Mistake{"FlagIsNumber", "cost_follows_rows = { value = false",
                "cost_follows_rows = { value = 0", "neither true nor false"},
        Mistake{"PowerBelowIdle", "active_w = { value = 35.0", "active_w = { value = 1.0",
                "cpu.active_w"},
        Mistake{"NoChannels", "max_channels =", "channels =", "'limits.max_channels': is missing"},
        Mistake{"GraphLimitMissing", "branches = {", "#", "'limits.graph.branches': is missing"},
        Mistake{"GraphLimitUnknown", "[limits.graph]", "[limits.graph]\nmax_depth = 1",
                "'limits.graph.max_depth': is not a key"},
        Mistake{"GraphLimitZero", "max_batch = { value = 65536", "max_batch = { value = 0",
                "limits.graph.max_batch"},
        Mistake{"StrideIsText", "[1, 2, 3, 4, 8]", "[1, \"2\"]", "no whole number from 1"},
        Mistake{"UnknownForm", "[limits.refused_forms]\nvalue = []",
                "[limits.refused_forms]\nvalue = [\"D\"]", "forms are A, B, C"}),
    [](const auto& test) { return test.param.what; });

TEST(ProfileFile, RefusesEveryTruncation) {
  const std::string text = ValidText();
  // Behind the last source the compiler's limits follow, which may be missing as a whole.
  const size_t whole = text.find("[limits.refused_forms]");
  const size_t graph = text.find("[limits.graph]");
  for (size_t length = 0; length < text.size() - 4; length += 37) {
    if (length > whole && length < graph + 14) continue;
    EXPECT_FALSE(ParseChipProfile(std::string_view(text).substr(0, length), "x.toml").ok())
        << length;
  }
}

TEST(ProfileFile, TakesAnyLetterInStringsAndComments) {
  const std::string text =
      Replaced("description = \"", "description = \"\\\" \u0281 # \u00b1 ") + "\n# '\u0281\n";
  const Result<ChipProfile> profile = ParseChipProfile(text, "x.toml");
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  EXPECT_EQ(profile->description.rfind("\" \u0281 # ", 0), 0u);
}

TEST(ProfileFile, MayLeaveOutTheCompilersLimits) {
  const std::string text = ValidText();
  const auto profile = ParseChipProfile(text.substr(0, text.find("[limits.graph]")), "x.toml");
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  EXPECT_EQ(LimitsOf(*profile).max_batch, 0);
  EXPECT_FALSE(LimitsOf(*profile).refuses_block_scales);
  EXPECT_EQ(LimitsOf(*profile).max_rank, 5);
}

}  // namespace
}  // namespace npumoe
