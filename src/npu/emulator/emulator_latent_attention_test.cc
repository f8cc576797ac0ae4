// Latent attention programs against plain loops in double, which expand keys and values of every
// head and know nothing of the graph.
#include <cmath>

#include "graph/testing/random_latent_attention.h"
#include "npu/emulator/attention_loops.h"

namespace npumoe::emulator {
namespace {

using npumoe::testing::RandomLatentAttention;

struct Case {
  const char* name;
  LatentProgramShape shape;
  AttentionExtent extent;
  WeightFormat format = WeightFormat::kF16;
};

float AngleOf(const Case& tested, int64_t token, int64_t pair) {
  const double frequency = std::pow(
      10000.0, -2.0 * static_cast<double>(pair) / static_cast<double>(tested.shape.rotary_dim));
  return static_cast<float>(static_cast<double>(tested.extent.history_tokens + token) * frequency);
}

// The first slots of a history are empty, as in a cache that is shorter.
constexpr int64_t kEmptySlots = 5;
bool Sees(const Case& tested, int64_t query, int64_t key) {
  const bool empty = tested.extent.history_tokens > 0 && key < kEmptySlots;
  return !empty && key <= tested.extent.history_tokens + query;
}

struct Inputs {
  std::vector<float> x, cos, sin, mask, latents;

  std::vector<std::vector<float>> Bound() const {
    std::vector<std::vector<float>> bound = {x, cos, sin, mask};
    if (!latents.empty()) bound.push_back(latents);
    return bound;
  }
};

Inputs MakeInputs(const Case& tested) {
  const LatentProgramShape& shape = tested.shape;
  const auto [chunk, history] = tested.extent;
  Inputs inputs;
  inputs.x = RandomValues(shape.hidden * chunk, 71, 1.7f);
  inputs.latents = RandomValues(shape.latent_dim() * history, 72, 1.5f);
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

Doubles Channels(const Doubles& x, int64_t tokens, int64_t first, int64_t count) {
  return {x.begin() + first * tokens, x.begin() + (first + count) * tokens};
}

void Append(Doubles& to, const Doubles& more) { to.insert(to.end(), more.begin(), more.end()); }

Doubles Turned(const Case& tested, Doubles x, int64_t head_dim, int64_t first) {
  const LatentProgramShape& shape = tested.shape;
  RotateHeads(x, tested.extent.chunk_tokens, head_dim, first, shape.rotary_dim, shape.rotary_pairs,
              [&](int64_t token, int64_t pair) { return AngleOf(tested, token, pair); });
  return x;
}

Doubles QueriesOf(const Case& tested, const LatentProgramWeights& weights, const Doubles& x) {
  const LatentProgramShape& shape = tested.shape;
  Doubles from = x;
  int64_t width = shape.hidden;
  if (shape.query_rank > 0) {
    width = shape.query_rank;
    from = Product(weights.query_down, {}, width, x, shape.hidden);
    Norm(from, tested.extent.chunk_tokens, width, weights.query_norm, width, shape.norm_epsilon);
  }
  const int64_t queries = shape.num_heads * shape.key_dim();
  return Turned(tested, Product(weights.query, {}, queries, from, width), shape.key_dim(),
                shape.nope_dim);
}

Doubles NewLatents(const Case& tested, const LatentProgramWeights& weights, const Doubles& x) {
  const LatentProgramShape& shape = tested.shape;
  const int64_t tokens = tested.extent.chunk_tokens;
  const Doubles row = Product(weights.latent, {}, shape.latent_dim(), x, shape.hidden);
  Doubles latents = Channels(row, tokens, 0, shape.rank);
  Norm(latents, tokens, shape.rank, weights.latent_norm, shape.rank, shape.norm_epsilon);
  Append(latents,
         Turned(tested, Channels(row, tokens, shape.rank, shape.rotary_dim), shape.rotary_dim, 0));
  return latents;
}

// [latent_dim][history + chunk]
Doubles AllLatents(const Case& tested, const Inputs& inputs, const Doubles& fresh) {
  const auto [chunk, history] = tested.extent;
  Doubles all;
  for (int64_t c = 0; c < tested.shape.latent_dim(); ++c) {
    for (int64_t t = 0; t < history; ++t) {
      all.push_back(inputs.latents[static_cast<size_t>(c * history + t)]);
    }
    for (int64_t t = 0; t < chunk; ++t) all.push_back(fresh[static_cast<size_t>(c * chunk + t)]);
  }
  return all;
}

// One head: queries [key_dim][chunk], keys [key_dim][keys], values [value_dim][keys].
Doubles AttendHead(const Case& tested, const Doubles& queries, const Doubles& keys,
                   const Doubles& values) {
  const LatentProgramShape& shape = tested.shape;
  const int64_t chunk = tested.extent.chunk_tokens;
  const int64_t count = tested.extent.history_tokens + chunk;
  Doubles attended(static_cast<size_t>(shape.value_dim * chunk));
  for (int64_t t = 0; t < chunk; ++t) {
    Doubles shares;
    double sum = 0;
    for (int64_t s = 0; s < count; ++s) {
      double logit = 0;
      for (int64_t c = 0; c < shape.key_dim(); ++c) {
        logit +=
            queries[static_cast<size_t>(c * chunk + t)] * keys[static_cast<size_t>(c * count + s)];
      }
      shares.push_back(Sees(tested, t, s) ? std::exp(logit * shape.scale) : 0);
      sum += shares.back();
    }
    for (int64_t c = 0; c < shape.value_dim; ++c) {
      for (int64_t s = 0; s < count; ++s) {
        attended[static_cast<size_t>(c * chunk + t)] +=
            shares[static_cast<size_t>(s)] / sum * values[static_cast<size_t>(c * count + s)];
      }
    }
  }
  return attended;
}

Doubles Attended(const Case& tested, const LatentProgramWeights& weights, const Doubles& queries,
                 const Doubles& latents) {
  const LatentProgramShape& shape = tested.shape;
  const int64_t chunk = tested.extent.chunk_tokens;
  const int64_t count = tested.extent.history_tokens + chunk;
  const Doubles compressed = Channels(latents, count, 0, shape.rank);
  const Doubles rope = Channels(latents, count, shape.rank, shape.rotary_dim);
  Doubles attended;
  for (int64_t head = 0; head < shape.num_heads; ++head) {
    const Doubles expanded = Product(weights.expand[static_cast<size_t>(head)], {},
                                     shape.expanded_dim(), compressed, shape.rank);
    Doubles keys = Channels(expanded, count, 0, shape.nope_dim);
    Append(keys, rope);
    const Doubles values = Channels(expanded, count, shape.nope_dim, shape.value_dim);
    Append(attended,
           AttendHead(tested, Channels(queries, chunk, head * shape.key_dim(), shape.key_dim()),
                      keys, values));
  }
  return Product(weights.output, {}, shape.hidden, attended, shape.num_heads * shape.value_dim);
}

std::vector<Case> Cases() {
  const LatentProgramShape shape{.hidden = 64,
                                 .num_heads = 4,
                                 .rank = 32,
                                 .nope_dim = 24,
                                 .rotary_dim = 16,
                                 .value_dim = 20,
                                 .scale = 0.158f,
                                 .norm_epsilon = 1e-6f};
  std::vector<Case> cases;
  cases.push_back({"FirstChunk", shape, {32, 0}});
  cases.push_back({"WithHistory", shape, {32, 64}});
  cases.push_back({"LowRankQueries", shape, {32, 32}});
  cases.back().shape.query_rank = 24;
  cases.push_back({"PairsInHalves", shape, {32, 32}});
  cases.back().shape.rotary_pairs = RotaryPairs::kHalves;
  cases.push_back({"OneHead", shape, {16, 16}});
  cases.back().shape.num_heads = 1;
  cases.push_back({"Int8", shape, {32, 32}, WeightFormat::kInt8});
  return cases;
}

class EmulatedLatentAttention : public ::testing::TestWithParam<Case> {};

TEST_P(EmulatedLatentAttention, EqualsPlainLoops) {
  const Case& tested = GetParam();
  const LatentProgramWeights weights = RandomLatentAttention(tested.shape, tested.format, 500);
  const Inputs inputs = MakeInputs(tested);
  const Result<Graph> graph = BuildLatentAttentionGraph(tested.shape, weights, tested.extent);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const auto outputs = RunGraph(*graph, inputs.Bound());
  ASSERT_EQ(outputs.size(), 2u);
  const Doubles x(inputs.x.begin(), inputs.x.end());
  const Doubles fresh = NewLatents(tested, weights, x);
  ExpectClose(outputs[1], fresh, "new_latents");
  ExpectClose(
      outputs[0],
      Attended(tested, weights, QueriesOf(tested, weights, x), AllLatents(tested, inputs, fresh)),
      "y");
}

INSTANTIATE_TEST_SUITE_P(All, EmulatedLatentAttention, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace npumoe::emulator
