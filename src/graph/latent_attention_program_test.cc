#include "graph/latent_attention_program.h"

#include <gtest/gtest.h>

#include "graph/graph_check.h"
#include "graph/mlpackage.h"
#include "graph/testing/package_files.h"
#include "graph/testing/random_latent_attention.h"

namespace npumoe {
namespace {

using testing::RandomLatentAttention;

LatentProgramShape SmallShape() {
  return {.hidden = 32,
          .num_heads = 3,
          .query_rank = 0,
          .rank = 16,
          .nope_dim = 10,
          .rotary_dim = 4,
          .value_dim = 6,
          .scale = 0.5f,
          .norm_epsilon = 1e-6f};
}

Result<Graph> Build(const LatentProgramShape& shape, const AttentionExtent& extent,
                    const std::string& name = "main") {
  return BuildLatentAttentionGraph(shape, RandomLatentAttention(shape, WeightFormat::kF16, 1),
                                   extent, name);
}

std::vector<std::string> InputNames(const Graph& graph) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : graph.inputs) names.push_back(spec.name + spec.shape.ToString());
  return names;
}

std::vector<std::string> OutputNames(const Graph& graph) {
  std::vector<std::string> names;
  for (const std::string& name : graph.outputs) {
    names.push_back(name + graph.Find(name)->shape.ToString());
  }
  return names;
}

TEST(LatentAttentionProgram, HasTheInterfaceOfItsHeader) {
  const Result<Graph> graph = Build(SmallShape(), {16, 48});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(InputNames(*graph),
            (std::vector<std::string>{"x[1, 32, 1, 16]", "cos[1, 4, 1, 16]", "sin[1, 4, 1, 16]",
                                      "mask[1, 64, 1, 16]", "latents[1, 20, 1, 48]"}));
  EXPECT_EQ(OutputNames(*graph),
            (std::vector<std::string>{"y[1, 32, 1, 16]", "new_latents[1, 20, 1, 16]"}));
  const Status checked = CheckGraph(*graph);
  EXPECT_TRUE(checked.ok()) << checked.message();
}

TEST(LatentAttentionProgram, HasNoCacheAsInputOfTheFirstChunk) {
  const Result<Graph> graph = Build(SmallShape(), {16, 0});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(InputNames(*graph),
            (std::vector<std::string>{"x[1, 32, 1, 16]", "cos[1, 4, 1, 16]", "sin[1, 4, 1, 16]",
                                      "mask[1, 16, 1, 16]"}));
}

TEST(LatentAttentionProgram, StaysAtRankFourWithOneConvolutionForEachHeadsLatents) {
  LatentProgramShape shape = SmallShape();
  shape.query_rank = 8;
  const Result<Graph> graph = Build(shape, {16, 48});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  int convolutions = 0;
  for (const Operation& operation : graph->operations) {
    for (const TensorSpec& output : operation.outputs) EXPECT_EQ(output.shape.rank(), 4);
    convolutions += operation.type == "conv" ? 1 : 0;
  }
  EXPECT_EQ(convolutions, 2 + 1 + 3 + 1);  // queries, latents, heads, output
}

TEST(LatentAttentionProgram, SharesWeightsBetweenHistoryLengths) {
  const testing::ScratchFolder folder;
  std::vector<Graph> functions;
  for (const int64_t history : {0, 64, 128}) {
    functions.push_back(*Build(SmallShape(), {16, history}, "history_" + std::to_string(history)));
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
  std::function<void(LatentProgramShape&, LatentProgramWeights&, AttentionExtent&)> change;
};

TEST(LatentAttentionProgram, SaysWhatItCannotWrite) {
  const StatusCode unsupported = StatusCode::kUnsupported, invalid = StatusCode::kInvalidInput;
  const Refused cases[] = {
      {"rotates 3 channels", unsupported, [](auto& s, auto&, auto&) { s.rotary_dim = 3; }},
      {"a size below 1", invalid, [](auto& s, auto&, auto&) { s.rank = 0; }},
      {"product is beyond", invalid, [](auto& s, auto&, auto&) { s.hidden = int64_t{1} << 60; }},
      {"product is beyond", invalid, [](auto& s, auto&, auto&) { s.rank = int64_t{1} << 40; }},
      {"product is beyond", invalid,
       [](auto& s, auto&, auto&) { s.query_rank = int64_t{1} << 60; }},
      {"the scale 0", invalid, [](auto& s, auto&, auto&) { s.scale = 0; }},
      {"the epsilon 0", invalid, [](auto& s, auto&, auto&) { s.norm_epsilon = 0; }},
      {"no rank of queries", invalid,
       [](auto&, auto& w, auto&) { w.query_norm = testing::RandomGains(1); }},
      {"query_down has neither", invalid, [](auto& s, auto&, auto&) { s.query_rank = 32; }},
      {"2 matrices that expand latents for 3 heads", invalid,
       [](auto&, auto& w, auto&) { w.expand.pop_back(); }},
      {"expand_1 has neither bytes nor a producer", invalid,
       [](auto&, auto& w, auto&) { w.expand[1] = {}; }},
      {"latent norm", invalid, [](auto&, auto& w, auto&) { w.latent_norm = {}; }},
      {"a chunk of 0 tokens", invalid, [](auto&, auto&, auto& e) { e.chunk_tokens = 0; }},
  };
  for (const Refused& refused : cases) {
    LatentProgramShape shape = SmallShape();
    LatentProgramWeights weights = RandomLatentAttention(shape, WeightFormat::kF16, 1);
    AttentionExtent extent{16, 16};
    refused.change(shape, weights, extent);
    const Status status = BuildLatentAttentionGraph(shape, weights, extent).status();
    EXPECT_EQ(status.code(), refused.code) << refused.expected;
    EXPECT_NE(status.message().find(refused.expected), std::string::npos) << status.message();
  }
}

}  // namespace
}  // namespace npumoe
