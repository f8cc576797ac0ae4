#include "graph/attention_program.h"

#include <gtest/gtest.h>

#include <limits>

#include "graph/graph_check.h"
#include "graph/head_program.h"
#include "graph/mlpackage.h"
#include "graph/testing/package_files.h"
#include "graph/testing/random_attention.h"

namespace npumoe {
namespace {

using testing::RandomAttention;

AttentionProgramShape SmallShape() {
  return {.hidden = 32,
          .num_heads = 4,
          .num_kv_heads = 2,
          .head_dim = 8,
          .value_dim = 6,
          .rotary_dim = 4,
          .scale = 0.5f};
}

std::vector<std::string> Names(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : specs) names.push_back(spec.name + spec.shape.ToString());
  return names;
}

std::vector<std::string> OutputNames(const Graph& graph) {
  std::vector<std::string> names;
  for (const std::string& name : graph.outputs) {
    names.push_back(name + graph.Find(name)->shape.ToString());
  }
  return names;
}

TEST(AttentionProgram, HasTheInterfaceOfItsHeader) {
  const Result<Graph> graph =
      BuildAttentionGraph(SmallShape(), RandomAttention(SmallShape(), {}, 1), {16, 48});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(Names(graph->inputs),
            (std::vector<std::string>{"x[1, 32, 1, 16]", "cos[1, 4, 1, 16]", "sin[1, 4, 1, 16]",
                                      "mask[1, 64, 1, 16]", "keys[1, 16, 1, 48]",
                                      "values[1, 12, 1, 48]"}));
  EXPECT_EQ(OutputNames(*graph),
            (std::vector<std::string>{"y[1, 32, 1, 16]", "new_keys[1, 16, 1, 16]",
                                      "new_values[1, 12, 1, 16]"}));
  const Status checked = CheckGraph(*graph);
  EXPECT_TRUE(checked.ok()) << checked.message();
}

TEST(AttentionProgram, HasNoCacheAsInputOfTheFirstChunk) {
  AttentionProgramShape shape = SmallShape();
  shape.rotary_dim = 0;
  const Result<Graph> graph = BuildAttentionGraph(shape, RandomAttention(shape, {}, 1), {16, 0});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(Names(graph->inputs),
            (std::vector<std::string>{"x[1, 32, 1, 16]", "mask[1, 16, 1, 16]"}));
}

// The Neural Engine takes no tensor of more than five axes, and products of rank 4.
TEST(AttentionProgram, StaysAtRankFour) {
  AttentionProgramShape shape = SmallShape();
  shape.head_norm = HeadNorm::kPerHead;
  shape.norm_epsilon = 1e-6f;
  const Result<Graph> graph = BuildAttentionGraph(
      shape, RandomAttention(shape, {.biases = true, .sinks = true}, 1), {16, 48});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  for (const Operation& operation : graph->operations) {
    for (const TensorSpec& output : operation.outputs) EXPECT_EQ(output.shape.rank(), 4);
  }
}

TEST(AttentionProgram, StaysAtRankFourWherePairsLieSideBySide) {
  AttentionProgramShape shape = SmallShape();
  shape.rotary_pairs = RotaryPairs::kSideBySide;
  for (const int64_t rotary_dim : {4, 8}) {  // of heads of 8
    shape.rotary_dim = rotary_dim;
    const Result<Graph> graph = BuildAttentionGraph(shape, RandomAttention(shape, {}, 1), {16, 48});
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    for (const Operation& operation : graph->operations) {
      EXPECT_NE(operation.type, "transpose");
      for (const TensorSpec& output : operation.outputs) EXPECT_EQ(output.shape.rank(), 4);
    }
  }
}

TEST(AttentionProgram, SharesWeightsBetweenHistoryLengths) {
  const testing::ScratchFolder folder;
  const AttentionProgramWeights weights = RandomAttention(SmallShape(), {.biases = true}, 1);
  std::vector<Graph> functions;
  for (const int64_t history : {0, 64, 128}) {
    functions.push_back(*BuildAttentionGraph(SmallShape(), weights, {16, history},
                                             "history_" + std::to_string(history)));
  }
  const Status one = WriteMlpackage(folder / "one.mlpackage", std::span(functions).first(1), {});
  const Status all = WriteMlpackage(folder / "all.mlpackage", functions, {});
  ASSERT_TRUE(one.ok() && all.ok()) << one.message() << all.message();
  EXPECT_EQ(testing::ReadBytes(testing::WeightFile(folder / "one.mlpackage")),
            testing::ReadBytes(testing::WeightFile(folder / "all.mlpackage")));
  EXPECT_TRUE(ReadMlpackage(folder / "all.mlpackage").ok());
}

struct Refused {
  const char* expected;
  StatusCode code;
  std::function<void(AttentionProgramShape&, AttentionProgramWeights&, AttentionExtent&)> change;
};

TEST(AttentionProgram, SaysWhatItCannotWrite) {
  const StatusCode unsupported = StatusCode::kUnsupported, invalid = StatusCode::kInvalidInput;
  const Refused cases[] = {
      {"heads of 7 channels", unsupported, [](auto& s, auto&, auto&) { s.head_dim = 7; }},
      {"4 heads and 3 heads of keys", unsupported,
       [](auto& s, auto&, auto&) { s.num_kv_heads = 3; }},
      {"rotates 10 of 8", unsupported, [](auto& s, auto&, auto&) { s.rotary_dim = 10; }},
      {"rotates 3 of 8", unsupported, [](auto& s, auto&, auto&) { s.rotary_dim = 3; }},
      {"a size below 1", invalid, [](auto& s, auto&, auto&) { s.hidden = 0; }},
      {"product is beyond", invalid, [](auto& s, auto&, auto&) { s.hidden = int64_t{1} << 60; }},
      {"the scale 0", invalid, [](auto& s, auto&, auto&) { s.scale = 0; }},
      {"the clip", invalid, [](auto& s, auto&, auto&) { s.clip_qkv = 1e6f; }},
      {"the epsilon 0", invalid, [](auto& s, auto&, auto&) { s.head_norm = HeadNorm::kPerHead; }},
      {"the shape has no norms", invalid,
       [](auto&, auto& w, auto&) { w.key_norm = testing::RandomGains(1); }},
      {"3 sinks for 4 heads", invalid,
       [](auto&, auto& w, auto&) {
         w.sinks = {1, 2, 3};
       }},
      {"a sink of", invalid,
       [](auto&, auto& w, auto&) { w.sinks.assign(4, std::numeric_limits<float>::infinity()); }},
      {"attention: key has neither bytes nor a producer", invalid,
       [](auto&, auto& w, auto&) { w.key = {}; }},
      {"a chunk of 0 tokens", invalid, [](auto&, auto&, auto& e) { e.chunk_tokens = 0; }},
      {"a history of -1", invalid, [](auto&, auto&, auto& e) { e.history_tokens = -1; }},
  };
  for (const Refused& refused : cases) {
    AttentionProgramShape shape = SmallShape();
    AttentionProgramWeights weights = RandomAttention(shape, {}, 1);
    AttentionExtent extent{16, 16};
    refused.change(shape, weights, extent);
    const Status status = BuildAttentionGraph(shape, weights, extent).status();
    EXPECT_EQ(status.code(), refused.code) << refused.expected;
    EXPECT_NE(status.message().find(refused.expected), std::string::npos) << status.message();
  }
}

TEST(HeadProgram, CutsTheVocabularyIntoEqualSlices) {
  const auto lengths = [](int64_t vocabulary, int64_t most) {
    std::vector<int64_t> result;
    int64_t next = 0;
    for (const HeadSlice& slice : HeadSlices({8, vocabulary, 4, most})) {
      EXPECT_EQ(slice.first, next);
      next += slice.entries;
      result.push_back(slice.entries);
    }
    EXPECT_EQ(next, vocabulary);
    return result;
  };
  EXPECT_EQ(lengths(10, 10), (std::vector<int64_t>{10}));
  EXPECT_EQ(lengths(11, 10), (std::vector<int64_t>{6, 5}));
  EXPECT_EQ(lengths(32064, 16384), (std::vector<int64_t>{16032, 16032}));
  EXPECT_EQ(lengths(32, 10), (std::vector<int64_t>{8, 8, 8, 8}));
  EXPECT_EQ(lengths(2, 1), (std::vector<int64_t>{1, 1}));
}

TEST(HeadProgram, HasOneOutputForEachSlice) {
  const HeadProgramShape shape{.hidden = 8, .vocabulary = 11, .rows = 4, .max_slice_entries = 4};
  const Result<Graph> graph =
      BuildHeadGraph(shape, testing::RandomHead(shape, WeightFormat::kInt8, 1));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(OutputNames(*graph),
            (std::vector<std::string>{"logits_0[1, 4, 1, 4]", "logits_1[1, 4, 1, 4]",
                                      "logits_2[1, 3, 1, 4]"}));
  EXPECT_TRUE(CheckGraph(*graph).ok());
}

TEST(HeadProgram, SaysWhichWeightsDoNotFit) {
  const HeadProgramShape shape{.hidden = 8, .vocabulary = 11, .rows = 4, .max_slice_entries = 4};
  HeadWeights weights = testing::RandomHead(shape, WeightFormat::kF16, 1);
  weights.biases.pop_back();
  EXPECT_NE(BuildHeadGraph(shape, weights).status().message().find("3 weights and 2 biases"),
            std::string::npos);
  weights.biases.clear();
  EXPECT_TRUE(BuildHeadGraph(shape, weights).ok());
  weights.slices[1].values.produce = nullptr;
  EXPECT_NE(BuildHeadGraph(shape, weights).status().message().find("head: slice 1 has neither"),
            std::string::npos);
  EXPECT_FALSE(BuildHeadGraph({8, 11, 4, 0}, weights).ok());
}

}  // namespace
}  // namespace npumoe
