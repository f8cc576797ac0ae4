// Attention and head programs against plain loops in double, which know nothing of the graph: no
// rounding between steps, rotation and softmax by their definitions.
#include <cmath>
#include <optional>

#include "graph/testing/random_attention.h"
#include "npu/emulator/attention_loops.h"
#include "npu/emulator/emulator_testing.h"

namespace npumoe::emulator {
namespace {

using npumoe::testing::AttentionOptions;
using npumoe::testing::RandomAttention;

struct Case {
  const char* name;
  AttentionProgramShape shape;
  AttentionOptions options;
  AttentionExtent extent;
  int64_t window = 1000;  // keys that a query looks back to
};

// A query at position history + t sees the keys from its window on; the first history slots are
// empty, as in a cache that is shorter than the program's history.
constexpr int64_t kEmptySlots = 5;
bool Sees(const Case& tested, int64_t query, int64_t key) {
  const int64_t position = tested.extent.history_tokens + query;
  const bool empty = tested.extent.history_tokens > 0 && key < kEmptySlots;
  return !empty && key <= position && key > position - tested.window;
}

float AngleOf(const Case& tested, int64_t token, int64_t pair) {
  const double frequency = std::pow(
      10000.0, -2.0 * static_cast<double>(pair) / static_cast<double>(tested.shape.rotary_dim));
  return static_cast<float>(static_cast<double>(tested.extent.history_tokens + token) * frequency);
}

// The inputs of a program, [channels][tokens] each.
struct Inputs {
  std::vector<float> x, cos, sin, mask, keys, values;

  std::vector<std::vector<float>> Bound(const Case& tested) const {
    std::vector<std::vector<float>> bound = {x};
    if (tested.shape.rotary_dim > 0) bound.insert(bound.end(), {cos, sin});
    bound.push_back(mask);
    if (tested.extent.history_tokens > 0) bound.insert(bound.end(), {keys, values});
    return bound;
  }
};

Inputs MakeInputs(const Case& tested) {
  const AttentionProgramShape& shape = tested.shape;
  const auto [chunk, history] = tested.extent;
  Inputs inputs;
  inputs.x = RandomValues(shape.hidden * chunk, 71, 1.7f);
  inputs.keys = RandomValues(shape.num_kv_heads * shape.head_dim * history, 72, 1.5f);
  inputs.values = RandomValues(shape.num_kv_heads * shape.value_dim * history, 73, 1.5f);
  for (int64_t c = 0; c < shape.rotary_dim; ++c) {
    for (int64_t t = 0; t < chunk; ++t) {
      const float angle = AngleOf(tested, t, c % (shape.rotary_dim / 2));
      inputs.cos.push_back(RoundF16(std::cos(angle)));
      inputs.sin.push_back(RoundF16(std::sin(angle)));
    }
  }
  for (int64_t key = 0; key < history + chunk; ++key) {
    for (int64_t query = 0; query < chunk; ++query) {
      inputs.mask.push_back(Sees(tested, query, key) ? 0 : kMaskedOut);
    }
  }
  return inputs;
}

void Rotate(const Case& tested, Doubles& x) {
  const AttentionProgramShape& shape = tested.shape;
  RotateHeads(x, tested.extent.chunk_tokens, shape.head_dim, 0, shape.rotary_dim,
              shape.rotary_pairs,
              [&](int64_t token, int64_t pair) { return AngleOf(tested, token, pair); });
}

struct Reference {
  Doubles y, keys, values;
};

Doubles Preprocessed(const Case& tested, const WeightMatrix& matrix, const WeightData& bias,
                     const WeightData& gain, int heads, const Doubles& x) {
  const AttentionProgramShape& shape = tested.shape;
  const int64_t width = heads * shape.head_dim;
  Doubles result = Product(matrix, bias, width, x, shape.hidden);
  const int64_t normed = shape.head_norm == HeadNorm::kPerHead ? shape.head_dim : width;
  if (shape.head_norm != HeadNorm::kNone) {
    Norm(result, tested.extent.chunk_tokens, normed, gain, normed, shape.norm_epsilon);
  }
  if (shape.clip_qkv > 0) {
    for (double& value : result) value = std::clamp<double>(value, -shape.clip_qkv, shape.clip_qkv);
  }
  Rotate(tested, result);
  return result;
}

// The element [channel][position] of history and chunk together.
double At(const std::vector<float>& past, const Doubles& fresh, const AttentionExtent& extent,
          int64_t channel, int64_t position) {
  if (position < extent.history_tokens) {
    return past[static_cast<size_t>(channel * extent.history_tokens + position)];
  }
  return fresh[static_cast<size_t>(channel * extent.chunk_tokens + position -
                                   extent.history_tokens)];
}

// What one query of a head takes from each key.
Doubles Shares(const Case& tested, const AttentionProgramWeights& weights, const Inputs& inputs,
               const Doubles& queries, const Doubles& keys, int64_t head, int64_t query) {
  const AttentionProgramShape& shape = tested.shape;
  const auto [chunk, history] = tested.extent;
  const int64_t shared = head * shape.num_kv_heads / shape.num_heads;
  Doubles shares;
  double sum = weights.sinks.empty() ? 0 : std::exp(weights.sinks[static_cast<size_t>(head)]);
  for (int64_t key = 0; key < history + chunk; ++key) {
    double logit = 0;
    for (int64_t c = 0; c < shape.head_dim; ++c) {
      logit += queries[static_cast<size_t>((head * shape.head_dim + c) * chunk + query)] *
               At(inputs.keys, keys, tested.extent, shared * shape.head_dim + c, key);
    }
    shares.push_back(Sees(tested, query, key) ? std::exp(logit * shape.scale) : 0);
    sum += shares.back();
  }
  for (double& share : shares) share /= sum;
  return shares;
}

Reference Attend(const Case& tested, const AttentionProgramWeights& weights, const Inputs& inputs) {
  const AttentionProgramShape& shape = tested.shape;
  const int64_t chunk = tested.extent.chunk_tokens;
  const Doubles x(inputs.x.begin(), inputs.x.end());
  const Doubles queries = Preprocessed(tested, weights.query, weights.query_bias,
                                       weights.query_norm, shape.num_heads, x);
  Reference result;
  result.keys =
      Preprocessed(tested, weights.key, weights.key_bias, weights.key_norm, shape.num_kv_heads, x);
  result.values = Product(weights.value, weights.value_bias, shape.num_kv_heads * shape.value_dim,
                          x, shape.hidden);
  if (shape.clip_qkv > 0) {
    for (double& value : result.values) {
      value = std::clamp<double>(value, -shape.clip_qkv, shape.clip_qkv);
    }
  }
  const int64_t width = shape.num_heads * shape.value_dim;
  Doubles attended(static_cast<size_t>(width * chunk));
  for (int64_t head = 0; head < shape.num_heads; ++head) {
    const int64_t shared = head * shape.num_kv_heads / shape.num_heads;
    for (int64_t query = 0; query < chunk; ++query) {
      const Doubles shares = Shares(tested, weights, inputs, queries, result.keys, head, query);
      for (int64_t c = 0; c < shape.value_dim; ++c) {
        double& sum = attended[static_cast<size_t>((head * shape.value_dim + c) * chunk + query)];
        for (size_t key = 0; key < shares.size(); ++key) {
          sum += shares[key] * At(inputs.values, result.values, tested.extent,
                                  shared * shape.value_dim + c, static_cast<int64_t>(key));
        }
      }
    }
  }
  result.y = Product(weights.output, weights.output_bias, shape.hidden, attended, width);
  return result;
}

AttentionProgramShape Shape64() {
  return {.hidden = 64,
          .num_heads = 4,
          .num_kv_heads = 4,
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
  Case& grouped = add("GroupedQueries", {32, 32});
  grouped.shape.num_kv_heads = 2;
  Case& one = add("OneHeadOfKeys", {32, 32});
  one.shape.num_kv_heads = 1;
  Case& single = add("OneHead", {16, 16});
  single.shape.num_heads = single.shape.num_kv_heads = 1;
  Case& qwen = add("NormPerHeadWithGroups", {32, 32});
  qwen.shape.num_kv_heads = 2;
  qwen.shape.head_norm = HeadNorm::kPerHead;
  qwen.shape.norm_epsilon = 1e-6f;
  Case& olmoe = add("NormOfTheWholeWidthAndClip", {32, 32});
  olmoe.shape.head_norm = HeadNorm::kWholeWidth;
  olmoe.shape.norm_epsilon = 1e-5f;
  olmoe.shape.clip_qkv = 0.9f;
  Case& clip = add("Clip", {32, 0});
  clip.shape.clip_qkv = 0.5f;
  Case& gpt_oss = add("SinksBiasesAndAWindow", {32, 32});
  gpt_oss.shape.num_kv_heads = 2;
  gpt_oss.options = {.biases = true, .sinks = true};
  gpt_oss.window = 12;
  Case& partial = add("RotatesAPart", {32, 32});
  partial.shape.rotary_dim = 8;
  Case& beside = add("RotatesPairsSideBySide", {32, 32});
  beside.shape.num_kv_heads = 2;
  beside.shape.rotary_pairs = RotaryPairs::kSideBySide;
  Case& beside_part = add("RotatesPairsSideBySideInAPart", {32, 32});
  beside_part.shape.rotary_dim = 8;
  beside_part.shape.rotary_pairs = RotaryPairs::kSideBySide;
  Case& none = add("RotatesNothing", {32, 32});
  none.shape.rotary_dim = 0;
  Case& narrow = add("NarrowValues", {32, 32});
  narrow.shape.value_dim = 6;
  Case& int8 = add("Int8", {32, 32});
  int8.options.format = WeightFormat::kInt8;
  Case& lut = add("Lut6", {32, 32});
  lut.options.format = WeightFormat::kLut6;
  return cases;
}

class EmulatedAttention : public ::testing::TestWithParam<Case> {};

TEST_P(EmulatedAttention, EqualsPlainLoops) {
  const Case& tested = GetParam();
  const AttentionProgramWeights weights = RandomAttention(tested.shape, tested.options, 500);
  const Inputs inputs = MakeInputs(tested);
  const Result<Graph> graph = BuildAttentionGraph(tested.shape, weights, tested.extent);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const auto outputs = RunGraph(*graph, inputs.Bound(tested));
  ASSERT_EQ(outputs.size(), 3u);
  const Reference expected = Attend(tested, weights, inputs);
  ExpectClose(outputs[0], expected.y, "y");
  ExpectClose(outputs[1], expected.keys, "new_keys");
  ExpectClose(outputs[2], expected.values, "new_values");
}

INSTANTIATE_TEST_SUITE_P(All, EmulatedAttention, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return std::string(test.param.name); });

// x * x is beyond fp16 from 256 on, and below 2^-12 it is nothing: the norm must hold for both, and
// for rows in which epsilon decides.
TEST(EmulatedNorm, HoldsForEveryMagnitude) {
  constexpr int64_t kWidth = 16, kTokens = 8;
  AttentionProgramShape shape = Shape64();
  shape.hidden = kWidth;
  shape.num_heads = shape.num_kv_heads = 1;
  shape.rotary_dim = 0;
  shape.head_norm = HeadNorm::kPerHead;
  shape.norm_epsilon = 1e-5f;
  AttentionProgramWeights weights = RandomAttention(shape, {}, 600);
  std::vector<float> identity(kWidth * kWidth);
  for (size_t i = 0; i < kWidth; ++i) identity[i * (kWidth + 1)] = 1;
  weights.key = MatrixEncoder::Create(WeightFormat::kF16,
                                      npumoe::testing::SourceOfValues(kWidth, kWidth, identity))
                    ->Matrix();
  const Case tested{"", shape, {}, {kTokens, 0}};
  Inputs inputs = MakeInputs(tested);
  // Each token by another power of ten, 1e-5 to 1e4, the last all zeros.
  const double magnitudes[kTokens] = {1e-5, 1e-4, 1e-3, 1e-2, 1, 300, 3e4, 0};
  for (size_t i = 0; i < inputs.x.size(); ++i) {
    inputs.x[i] = RoundF16(inputs.x[i] * magnitudes[i % kTokens]);
  }
  const auto outputs =
      RunGraph(*BuildAttentionGraph(shape, weights, tested.extent), inputs.Bound(tested));
  ASSERT_EQ(outputs.size(), 3u);
  Doubles expected(inputs.x.begin(), inputs.x.end());
  Norm(expected, kTokens, kWidth, weights.key_norm, kWidth, shape.norm_epsilon);
  for (int64_t t = 0; t < kTokens; ++t) {
    double largest = 0;
    for (int64_t c = 0; c < kWidth; ++c) {
      largest = std::max(largest, std::abs(expected[static_cast<size_t>(c * kTokens + t)]));
    }
    for (int64_t c = 0; c < kWidth; ++c) {  // six roundings in a row
      const auto at = static_cast<size_t>(c * kTokens + t);
      ASSERT_NEAR(outputs[1][at], expected[at], 6 * 0x1p-11 * largest) << t << " " << c;
    }
  }
}

// A query that sees nothing (a padded row) gives finite numbers, which nobody reads.
TEST(EmulatedAttentionMask, OfOnesThatSeeNothingGivesNumbers) {
  Case tested{"", Shape64(), {}, {16, 16}};
  Inputs inputs = MakeInputs(tested);
  std::fill(inputs.mask.begin(), inputs.mask.end(), kMaskedOut);
  const Result<Graph> graph =
      BuildAttentionGraph(tested.shape, RandomAttention(tested.shape, {}, 700), tested.extent);
  const auto outputs = RunGraph(*graph, inputs.Bound(tested));
  ASSERT_EQ(outputs.size(), 3u);
  for (const float value : outputs[0]) ASSERT_TRUE(std::isfinite(value));
}

TEST(EmulatedHead, EqualsPlainLoops) {
  for (const WeightFormat format : {WeightFormat::kF16, WeightFormat::kInt8}) {
    const HeadProgramShape shape{
        .hidden = 64, .vocabulary = 250, .rows = 16, .max_slice_entries = 100};
    HeadWeights weights = npumoe::testing::RandomHead(shape, format, 800);
    const std::vector<float> x = RandomValues(shape.hidden * shape.rows, 81);
    const Result<Graph> graph = BuildHeadGraph(shape, weights);
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    const auto outputs = RunGraph(*graph, {x});
    ASSERT_EQ(outputs.size(), 3u);
    for (size_t i = 0; i < outputs.size(); ++i) {
      const int64_t entries = HeadSlices(shape)[i].entries;
      ExpectClose(outputs[i],
                  Product(weights.slices[i], weights.biases[i], entries,
                          Doubles(x.begin(), x.end()), shape.hidden),
                  "logits");
    }
  }
}

}  // namespace
}  // namespace npumoe::emulator
