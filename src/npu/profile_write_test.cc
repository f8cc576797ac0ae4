#include "npu/profile_write.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace npumoe {
namespace {

const std::filesystem::path kChips = NPUMOE_SOURCE_DIR "/chips";

void ExpectSameEntries(const ChipProfile& a, const ChipProfile& b) {
  ASSERT_EQ(a.origins.size(), b.origins.size());
  for (size_t i = 0; i < a.origins.size(); ++i) {
    const FigureOrigin& x = a.origins[i];
    const FigureOrigin& y = b.origins[i];
    EXPECT_EQ(x.key, y.key);
    EXPECT_EQ(x.value, y.value) << x.key;
    EXPECT_EQ(x.provenance, y.provenance) << x.key;
    EXPECT_EQ(x.spread, y.spread) << x.key;
    EXPECT_EQ(x.source, y.source) << x.key;
    EXPECT_EQ(x.rows, y.rows) << x.key;
  }
}

TEST(ProfileWrite, WhatIsReadAndWrittenIsReadAsTheSame) {
  for (const std::string& name : ListChipProfiles({kChips})) {
    const ChipProfile profile = *LoadChipProfile(name, {kChips});
    const std::string text = WriteChipProfile("a copy", profile.description, profile.origins);
    const Result<ChipProfile> copy = ParseChipProfile(text, name + ".toml");
    ASSERT_TRUE(copy.ok()) << copy.status().message() << "\n" << text;
    EXPECT_EQ(copy->description, profile.description);
    EXPECT_EQ(copy->npu.cost_follows_rows, profile.npu.cost_follows_rows);
    EXPECT_EQ(copy->limits.refused_ops, profile.limits.refused_ops);
    EXPECT_EQ(copy->limits.graph.conv_strides, profile.limits.graph.conv_strides);
    ExpectSameEntries(profile, *copy);
  }
}

TEST(ProfileWrite, ReplacesAFigureAndAWholeRate) {
  const ChipProfile profile = *LoadChipProfile("m2-max", {kChips});
  std::vector<FigureOrigin> entries = profile.origins;
  const Figure launch{1.25, Provenance::kMeasured, 0.03, "a test"};
  const Figure rate{0.5, Provenance::kMeasured, 0.1, "a test"};
  const std::vector<RatePoint> rates = {{8, rate}, {64, rate}, {512, rate}};
  ReplaceEntries(entries, "npu.launch_ms", {EntryOf("npu.launch_ms", launch)});
  ReplaceEntries(entries, "npu.tflops", EntriesOf("npu.tflops", rates));
  const Figure slowdown{1.5, Provenance::kMeasured, 0.1, "a test"};  // the chip has none
  ReplaceEntries(entries, "npu.slowdown_beside_cpu",
                 {EntryOf("npu.slowdown_beside_cpu", slowdown)});
  const auto changed = ParseChipProfile(WriteChipProfile("changed", "d", entries), "x.toml");
  ASSERT_TRUE(changed.ok()) << changed.status().message();
  EXPECT_EQ(changed->npu.launch_ms.value, 1.25);
  EXPECT_EQ(changed->npu.launch_ms.spread, 0.03);
  EXPECT_EQ(changed->npu.launch_ms.provenance, Provenance::kMeasured);
  ASSERT_EQ(changed->npu.tflops.size(), 3u);
  EXPECT_EQ(changed->npu.slowdown_beside_cpu.value, 1.5);
  EXPECT_EQ(changed->npu.tflops[2].rows, 512);
  EXPECT_EQ(changed->npu.tflops[2].rate.value, 0.5);
  EXPECT_EQ(changed->npu.stream_gb_per_s.value, profile.npu.stream_gb_per_s.value);
}

TEST(ProfileWrite, QuotesWhatASourceMayHold) {
  const std::string odd = "a \"quoted\" \\ path,\nnext line\tand \x7f";
  const ChipProfile profile = *LoadChipProfile("m2-max", {kChips});
  std::vector<FigureOrigin> entries = profile.origins;
  entries.front().source = odd;
  const auto read = ParseChipProfile(WriteChipProfile("c", odd, entries), "x.toml");
  ASSERT_TRUE(read.ok()) << read.status().message();
  const std::string kept = "a \"quoted\" \\ path, next line and  ";
  EXPECT_EQ(read->description, kept);
  EXPECT_EQ(read->memory_bytes.source, kept);
}

}  // namespace
}  // namespace npumoe
