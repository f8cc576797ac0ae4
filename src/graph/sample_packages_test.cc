// One package of every kind, for judges outside this program: with NPUMOE_SAMPLE_PACKAGES=FOLDER
// they stay in that folder (tests/package_formats_test.py). Each is read back here.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "graph/mlpackage.h"
#include "graph/testing/package_files.h"
#include "graph/testing/random_latent_attention.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

using testing::EncodedSlots;
using testing::RandomAttention;

constexpr testing::ExpertSizes kSizes{96, 64};

class SamplePackages : public ::testing::Test {
 protected:
  SamplePackages() {
    if (const char* named = std::getenv("NPUMOE_SAMPLE_PACKAGES"); named != nullptr) {
      path_ = named;
    }
  }

  void Write(const std::string& name, const std::vector<Graph>& functions) const {
    const fs::path package = path_ / (name + ".mlpackage");
    const Status written = WriteMlpackage(package, functions, {"sample " + name, {}});
    ASSERT_TRUE(written.ok()) << name << ": " << written.message();
    const Result<Mlpackage> read = ReadMlpackage(package);
    ASSERT_TRUE(read.ok()) << name << ": " << read.status().message();
    EXPECT_EQ(read->functions.size(), functions.size());
  }

  const testing::ScratchFolder scratch_;
  fs::path path_ = scratch_.path();
};

Graph Experts(GraphForm form, std::vector<ExpertSlot> slots, float clamp_limit,
              const std::string& name) {
  Result<Graph> graph =
      BuildExpertGraph(form, {kSizes.hidden, kSizes.intermediate, clamp_limit}, slots, name);
  NPUMOE_CHECK(graph.ok());
  return *std::move(graph);
}

// Capacities of the buckets: equal ones, except in form C.
std::vector<int64_t> Capacities(GraphForm form, int64_t rows) {
  if (form == GraphForm::kDenseChains) return {rows, 2 * rows};
  return {rows, rows};
}

std::vector<Graph> Buckets(GraphForm form, WeightFormat format) {
  std::vector<Graph> functions;
  for (const int64_t rows : {32, 64}) {
    functions.push_back(Experts(form, EncodedSlots(format, kSizes, Capacities(form, rows)), 0,
                                "rows_" + std::to_string(rows)));
  }
  return functions;
}

constexpr GraphForm kForms[] = {GraphForm::kGroupedConv, GraphForm::kBatchedMatmul,
                                GraphForm::kDenseChains};

TEST_F(SamplePackages, OfExpertsInEveryFormAndFormat) {
  for (const GraphForm form : kForms) {
    for (const WeightFormat format : testing::kAllFormats) {
      Write(std::string("experts-") + Name(form) + "-" + Name(format), Buckets(form, format));
    }
  }
}

TEST_F(SamplePackages, OfExpertsWithBiasesAndAClamp) {
  for (const GraphForm form : kForms) {
    std::vector<ExpertSlot> slots = EncodedSlots(WeightFormat::kInt8, kSizes, Capacities(form, 32));
    for (ExpertSlot& slot : slots) {
      const auto seed = static_cast<uint32_t>(slot.expert);
      slot.gate_bias = testing::RandomHalves(seed, 0.4f);
      slot.up_bias = testing::RandomHalves(seed + 1, 0.4f);
      slot.down_bias = testing::RandomHalves(seed + 2, 0.4f);
    }
    Write(std::string("experts-") + Name(form) + "-clamped", {Experts(form, slots, 0.5f, "main")});
  }
}

// Blocks of GGUF; their bytes stay beside the package: gate, up, down.
TEST_F(SamplePackages, OfExpertsTakenFromGguf) {
  for (const DType type : {DType::kQ8_0, DType::kQ4_0}) {
    std::mt19937 random(5);
    std::vector<std::string> bytes;
    const auto taken = [&](int64_t out, int64_t in) {
      std::string& blocks = bytes.emplace_back(BytesOf(type, out * in), '\0');
      for (char& byte : blocks) byte = static_cast<char>(random() & 0xff);
      for (size_t at = 0; at < blocks.size(); at += BlockBytes(type)) {
        // Either sign, 2^-10 to 2^-7.
        const auto scale = static_cast<uint16_t>(0x1400 + random() % 0xc00 + (random() % 2 << 15));
        std::memcpy(&blocks[at], &scale, sizeof scale);
      }
      return *TakeOverBlocks(
          {type, Shape{out, in}, reinterpret_cast<const std::byte*>(blocks.data())}, "matrix");
    };
    bytes.reserve(3);  // the matrices look into it
    const WeightMatrix gate = taken(kSizes.intermediate, kSizes.hidden);
    const WeightMatrix up = taken(kSizes.intermediate, kSizes.hidden);
    const WeightMatrix down = taken(kSizes.hidden, kSizes.intermediate);
    const std::string name = std::string("gguf-") + Name(type);
    Write(name, {Experts(GraphForm::kDenseChains, {{0, 32, gate, up, down}}, 0, "main")});
    for (size_t i = 0; i < bytes.size(); ++i) {
      const char* const roles[] = {"gate", "up", "down"};
      testing::WriteBytes(path_ / (name + "." + roles[i]), bytes[i]);
    }
  }
}

struct AttentionSample {
  const char* name;
  AttentionProgramShape shape;
  testing::AttentionOptions options;
};

std::vector<AttentionSample> AttentionSamples() {
  const AttentionProgramShape shape{.hidden = 64,
                                    .num_heads = 4,
                                    .num_kv_heads = 2,
                                    .head_dim = 16,
                                    .value_dim = 16,
                                    .rotary_dim = 16,
                                    .scale = 0.25f};
  AttentionSample plain{"attention-plain", shape, {}};
  AttentionSample normed{"attention-norm-per-head", shape, {.format = WeightFormat::kInt8}};
  normed.shape.head_norm = HeadNorm::kPerHead;
  normed.shape.norm_epsilon = 1e-6f;
  AttentionSample clipped{"attention-norm-and-clip", shape, {.format = WeightFormat::kLut6}};
  clipped.shape.num_kv_heads = 4;
  clipped.shape.head_norm = HeadNorm::kWholeWidth;
  clipped.shape.norm_epsilon = 1e-5f;
  clipped.shape.clip_qkv = 0.9f;
  AttentionSample sinks{"attention-sinks-and-biases", shape, {.biases = true, .sinks = true}};
  sinks.shape.rotary_dim = 8;
  sinks.shape.value_dim = 12;
  AttentionSample beside{"attention-pairs-side-by-side", shape, {.format = WeightFormat::kInt8}};
  beside.shape.rotary_dim = 8;
  beside.shape.rotary_pairs = RotaryPairs::kSideBySide;
  return {plain, normed, clipped, sinks, beside};
}

TEST_F(SamplePackages, OfAttentionOverSeveralHistories) {
  for (const AttentionSample& sample : AttentionSamples()) {
    const AttentionProgramWeights weights = RandomAttention(sample.shape, sample.options, 900);
    std::vector<Graph> functions;
    for (const int64_t history : {0, 64}) {
      Result<Graph> graph = BuildAttentionGraph(sample.shape, weights, {32, history},
                                                "history_" + std::to_string(history));
      ASSERT_TRUE(graph.ok()) << graph.status().message();
      functions.push_back(*std::move(graph));
    }
    Write(sample.name, functions);
  }
}

TEST_F(SamplePackages, OfLatentAttentionOverSeveralHistories) {
  struct Sample {
    const char* name;
    int64_t query_rank;
    WeightFormat format;
  };
  for (const Sample& sample : {Sample{"latent-plain", 0, WeightFormat::kF16},
                               Sample{"latent-low-rank-queries", 32, WeightFormat::kInt8}}) {
    const LatentProgramShape shape{.hidden = 64,
                                   .num_heads = 4,
                                   .query_rank = sample.query_rank,
                                   .rank = 32,
                                   .nope_dim = 24,
                                   .rotary_dim = 16,
                                   .value_dim = 20,
                                   .scale = 0.158f,
                                   .norm_epsilon = 1e-6f};
    const LatentProgramWeights weights = testing::RandomLatentAttention(shape, sample.format, 970);
    std::vector<Graph> functions;
    for (const int64_t history : {0, 64}) {
      Result<Graph> graph = BuildLatentAttentionGraph(shape, weights, {32, history},
                                                      "history_" + std::to_string(history));
      ASSERT_TRUE(graph.ok()) << graph.status().message();
      functions.push_back(*std::move(graph));
    }
    Write(sample.name, functions);
  }
}

TEST_F(SamplePackages, OfTheVocabularyHead) {
  const HeadProgramShape shape{
      .hidden = 64, .vocabulary = 250, .rows = 32, .max_slice_entries = 100};
  for (const WeightFormat format : {WeightFormat::kF16, WeightFormat::kInt8}) {
    const Result<Graph> graph = BuildHeadGraph(shape, testing::RandomHead(shape, format, 950));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    Write(std::string("head-") + Name(format), {*graph});
  }
}

}  // namespace
}  // namespace npumoe
