// Attention and head programs on target CPU against the emulator, whose own tests hold it to plain
// loops.
#include <cmath>

#include "graph/testing/random_latent_attention.h"
#include "npu/openvino/openvino_testing.h"

namespace npumoe::openvino {
namespace {

using npumoe::testing::AttentionOptions;
using npumoe::testing::RandomAttention;

struct Case {
  const char* name;
  AttentionProgramShape shape;
  AttentionOptions options;
  AttentionExtent extent;
};

AttentionProgramShape Shape64() {
  return {.hidden = 64,
          .num_heads = 4,
          .num_kv_heads = 2,
          .head_dim = 16,
          .value_dim = 16,
          .rotary_dim = 16,
          .scale = 0.25f};
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  const auto add = [&](const char* name, AttentionExtent extent) -> Case& {
    return cases.emplace_back(Case{name, Shape64(), {}, extent});
  };
  add("FirstChunk", {32, 0});
  add("WithHistory", {32, 64});
  Case& per_head = add("NormPerHead", {32, 32});
  per_head.shape.head_norm = HeadNorm::kPerHead;
  per_head.shape.norm_epsilon = 1e-6f;
  Case& whole = add("NormOfTheWholeWidthAndClip", {32, 32});
  whole.shape.head_norm = HeadNorm::kWholeWidth;
  whole.shape.norm_epsilon = 1e-5f;
  whole.shape.clip_qkv = 0.9f;
  add("SinksAndBiases", {32, 32}).options = {.biases = true, .sinks = true};
  Case& partial = add("RotatesAPartNarrowValues", {32, 32});
  partial.shape.rotary_dim = 8;
  partial.shape.value_dim = 6;
  add("Int8", {32, 32}).options.format = WeightFormat::kInt8;
  add("PairsSideBySide", {32, 32}).shape.rotary_pairs = RotaryPairs::kSideBySide;
  return cases;
}

// Rotary tables that are some, and a causal mask over history and chunk.
void FillTables(const Graph& graph, const AttentionExtent& extent, std::vector<Floats>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string& name = graph.inputs[i].name;
    for (size_t at = 0; at < inputs[i].size(); ++at) {
      const auto row = static_cast<int64_t>(at) / extent.chunk_tokens;
      const auto token = static_cast<int64_t>(at) % extent.chunk_tokens;
      const float angle = 0.1f * static_cast<float>((row % 4) * token);
      if (name == "cos") inputs[i][at] = emulator::RoundF16(std::cos(angle));
      if (name == "sin") inputs[i][at] = emulator::RoundF16(std::sin(angle));
      if (name == "mask") inputs[i][at] = row > extent.history_tokens + token ? kMaskedOut : 0;
    }
  }
}

class OpenvinoAttention : public OpenvinoTest, public ::testing::WithParamInterface<Case> {};

// How far roundings to fp16 may take the emulator from exact numbers; its own test says why.
constexpr float kTolerance = 5e-3f;

void ExpectTheEmulatorsNumbers(Device& device, const Graph& graph, const AttentionExtent& extent) {
  std::vector<Floats> inputs = RandomInputs(graph, 71, 1.5f);
  FillTables(graph, extent, inputs);
  const auto expected = emulator::RunUnlimited(graph, inputs);
  ASSERT_TRUE(expected.ok()) << expected.status().message();
  ExpectClose(RunOn(device, graph, inputs), *expected, kTolerance);
}

TEST_P(OpenvinoAttention, EqualsTheEmulator) {
  const Case& tested = GetParam();
  const AttentionProgramWeights weights = RandomAttention(tested.shape, tested.options, 500);
  const Result<Graph> graph = BuildAttentionGraph(tested.shape, weights, tested.extent);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  ThreadPool pool(2);
  ExpectTheEmulatorsNumbers(*OpenCpu(pool), *graph, tested.extent);
}

INSTANTIATE_TEST_SUITE_P(All, OpenvinoAttention, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return std::string(test.param.name); });

class OpenvinoLatentAttention : public OpenvinoTest {};

TEST_F(OpenvinoLatentAttention, EqualsTheEmulator) {
  ThreadPool pool(2);
  const auto device = OpenCpu(pool);
  for (const WeightFormat format : {WeightFormat::kF16, WeightFormat::kInt8}) {
    const int64_t query_rank = format == WeightFormat::kF16 ? 0 : 24;
    const LatentProgramShape shape{.hidden = 64,
                                   .num_heads = 4,
                                   .query_rank = query_rank,
                                   .rank = 32,
                                   .nope_dim = 24,
                                   .rotary_dim = 16,
                                   .value_dim = 20,
                                   .scale = 0.158f,
                                   .norm_epsilon = 1e-6f};
    const LatentProgramWeights weights = npumoe::testing::RandomLatentAttention(shape, format, 500);
    for (const AttentionExtent& extent : {AttentionExtent{32, 0}, AttentionExtent{32, 64}}) {
      const Result<Graph> graph = BuildLatentAttentionGraph(shape, weights, extent);
      ASSERT_TRUE(graph.ok()) << graph.status().message();
      ExpectTheEmulatorsNumbers(*device, *graph, extent);
    }
  }
}

class OpenvinoHead : public OpenvinoTest {};

TEST_F(OpenvinoHead, EqualsTheEmulator) {
  const HeadProgramShape shape{
      .hidden = 64, .vocabulary = 250, .rows = 16, .max_slice_entries = 100};
  const Result<Graph> graph =
      BuildHeadGraph(shape, npumoe::testing::RandomHead(shape, WeightFormat::kInt8, 800));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const std::vector<Floats> inputs = RandomInputs(*graph, 81);
  const auto expected = emulator::RunUnlimited(*graph, inputs);
  ASSERT_TRUE(expected.ok()) << expected.status().message();
  ThreadPool pool(2);
  // Weights are rounded to fp16 on one side only (2^-11), results on both (2^-11 each).
  ExpectClose(RunOn(*OpenCpu(pool), *graph, inputs), *expected, 3 * 0x1p-11f);
}

}  // namespace
}  // namespace npumoe::openvino
