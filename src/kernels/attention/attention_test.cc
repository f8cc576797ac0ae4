#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::RandomFloats;

enum class Values { kApart, kInsideKeys };

struct Case {
  int heads, kv_heads, head_dim;
  int64_t tokens, position;
  int value_dim = 0;
  int64_t window = 0;
  float sink_range = 0;  // 0: no sinks
  Values where = Values::kApart;
};

struct Inputs {
  explicit Inputs(const Case& c, double range = 1.0)
      : queries(RandomFloats(static_cast<size_t>(c.tokens * c.heads * c.head_dim), 1, range)),
        keys(RandomFloats(static_cast<size_t>((c.position + c.tokens) * c.kv_heads * c.head_dim), 2,
                          range)),
        sinks(RandomFloats(static_cast<size_t>(c.sink_range == 0 ? 0 : c.heads), 4,
                           double{c.sink_range})) {
    args.num_heads = c.heads;
    args.num_kv_heads = c.kv_heads;
    args.head_dim = c.head_dim;
    args.value_dim = c.value_dim;
    args.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.head_dim)));
    args.position = c.position;
    args.window = c.window;
    args.sinks = sinks;
    const int64_t context = c.position + c.tokens;
    const int64_t width = int64_t{c.heads} * c.head_dim;
    const int64_t key_width = int64_t{c.kv_heads} * c.head_dim;
    const int64_t value_width = int64_t{c.kv_heads} * args.ValueDim();
    const int64_t out_width = int64_t{c.heads} * args.ValueDim();
    values = RandomFloats(static_cast<size_t>(context * value_width), 3);
    out.assign(static_cast<size_t>(c.tokens * out_width), 7.0f);
    args.queries = {queries.data(), c.tokens, width, width};
    args.keys = {keys.data(), context, key_width, key_width};
    args.values = {values.data(), context, value_width, value_width};
    if (c.where == Values::kInsideKeys) {
      args.values = {keys.data(), context, value_width, key_width};
    }
    args.out = {out.data(), c.tokens, out_width, out_width};
  }
  std::vector<float> queries, keys, sinks, values, out;
  AttentionArgs args;
};

// Values lie in [-1, 1] and weights sum to 1. An error e of a score changes its weight by the
// factor 1 + e, so the output moves by at most 2 max|e|; |e| <= (d + 2) u scale sum |q k| <=
// (d + 2) u sqrt(d) range^2. exp and the running sums add at most (context + 8) u.
double Bound(const Case& c, double range = 1.0) {
  const double d = c.head_dim;
  const double score_error = (d + 2) * std::sqrt(d) * range * range;
  return (2 * score_error + static_cast<double>(c.position + c.tokens) + 8) *
         testing::kUnitRoundoff;
}

void ExpectEqualsReference(const Case& c, ThreadPool& pool, double range = 1.0) {
  SCOPED_TRACE(::testing::Message() << c.heads << "/" << c.kv_heads << " heads of " << c.head_dim
                                    << ", " << c.tokens << " tokens at " << c.position
                                    << ", values of " << c.value_dim << ", window " << c.window);
  Inputs inputs(c, range);
  AttentionReference(inputs.args);
  const std::vector<float> expected = inputs.out;
  std::fill(inputs.out.begin(), inputs.out.end(), 7.0f);
  Attention(inputs.args, pool);
  testing::ExpectWithin(inputs.out, expected, Bound(c, range));
}

TEST(Attention, EqualsTheReferenceForEveryTargetAndShape) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const Case& c : {Case{1, 1, 8, 1, 0},
                          {4, 2, 16, 5, 0},
                          {4, 4, 64, 130, 3},
                          {8, 1, 128, 40, 100},
                          {6, 2, 20, 70, 61},
                          {3, 3, 33, 9, 127}}) {
      ExpectEqualsReference(c, pool);
    }
  });
}

TEST(Attention, EqualsTheReferenceWhenDecodingOverSeveralSpansOfKeys) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const int64_t position : {0, 63, 64, 511, 512, 1300}) {
      ExpectEqualsReference({8, 2, 64, 1, position}, pool);
      ExpectEqualsReference({4, 2, 32, 3, position}, pool);
    }
  });
}

TEST(Attention, EqualsTheReferenceForValuesOfAnotherWidth) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const int64_t tokens : {1, 30}) {
      for (const int value_dim : {3, 24, 64}) {
        ExpectEqualsReference({4, 4, 40, tokens, 90, value_dim}, pool);
        ExpectEqualsReference({6, 2, 33, tokens, 0, value_dim}, pool);
      }
    }
  });
}

// Latent attention: all heads read one row per position, whose first part is the value too.
TEST(Attention, EqualsTheReferenceForValuesInsideTheKeys) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const int64_t tokens : {1, 5, 20}) {
      for (const int64_t position : {0, 63, 700}) {
        Case c{16, 1, 72, tokens, position};
        c.value_dim = 64;
        c.where = Values::kInsideKeys;
        ExpectEqualsReference(c, pool);
      }
    }
    // More heads than a task has rows.
    Case c{128, 1, 576, 2, 70};
    c.value_dim = 512;
    c.where = Values::kInsideKeys;
    ExpectEqualsReference(c, pool);
  });
}

TEST(Attention, EqualsTheReferenceForEveryWindow) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const int64_t window : {1, 2, 63, 64, 65, 128, 200, 5000}) {
      for (const int64_t tokens : {1, 4, 150}) {
        Case c{4, 2, 16, tokens, 700};
        c.window = window;
        ExpectEqualsReference(c, pool);
        c.position = 0;
        ExpectEqualsReference(c, pool);
      }
    }
  });
}

TEST(Attention, EqualsTheReferenceWithSinks) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const float sink_range : {1.0f, 50.0f}) {
      for (const int64_t tokens : {1, 150}) {
        Case c{8, 2, 16, tokens, 600};
        c.sink_range = sink_range;
        ExpectEqualsReference(c, pool);
        c.window = 128;
        ExpectEqualsReference(c, pool);
      }
    }
  });
}

// A query that sees itself alone gives its own value, as far as the sink lets it:
// p = exp(l) / (exp(l) + exp(sink)).
TEST(Attention, SeesWithAWindowOfOneOnlyItsOwnPosition) {
  ThreadPool pool(1);
  for (const float sink : {-100.0f, 0.5f}) {
    for (const int64_t tokens : {1, 100}) {
      Case c{1, 1, 4, tokens, 37};
      c.window = 1;
      c.sink_range = 1;
      Inputs inputs(c);
      inputs.sinks[0] = sink;
      Attention(inputs.args, pool);
      for (size_t i = 0; i < inputs.out.size(); ++i) {
        const float* query = inputs.args.queries.Row(static_cast<int64_t>(i / 4));
        const float* key = inputs.args.keys.Row(37 + static_cast<int64_t>(i / 4));
        double score = 0;
        for (size_t k = 0; k < 4; ++k) score += double{query[k]} * double{key[k]} / 2;
        const double share = 1 / (1 + std::exp(sink - score));
        ASSERT_NEAR(inputs.out[i], share * double{inputs.values[37 * 4 + i]}, Bound(c)) << i;
      }
    }
  }
}

// Decoding one token and a block of many.
TEST(Attention, DoesNotReadBlocksOutsideTheWindow) {
  ThreadPool pool(2);
  for (const int64_t tokens : {1, 40}) {
    Case c{4, 2, 16, tokens, 1000};
    c.window = 128;
    Inputs inputs(c);
    // The oldest block that the first token sees begins at 832 = 13 * 64 <= 1000 - 127.
    const auto unseen = static_cast<size_t>(832 * 2 * 16);
    std::fill_n(inputs.keys.begin(), unseen, std::nanf(""));
    std::fill_n(inputs.values.begin(), unseen, std::nanf(""));
    AttentionReference(inputs.args);
    const std::vector<float> expected = inputs.out;
    Attention(inputs.args, pool);
    testing::ExpectWithin(inputs.out, expected, Bound(c));
  }
}

TEST(Attention, StaysAccurateForLargeScores) {
  ThreadPool pool(2);
  // Scores up to 30 * 30 * 16 / 4: weights concentrate on few keys and the maximum keeps moving.
  ExpectEqualsReference({2, 1, 16, 60, 80}, pool, 30.0);
}

TEST(Attention, GivesTheSameBitsForAnyNumberOfThreads) {
  ThreadPool one(1);
  ThreadPool three(3);
  for (const Case& c : {Case{8, 2, 64, 1, 1500},
                        {8, 2, 64, 90, 200},
                        {16, 1, 64, 1, 1500, 48, 700, 1.0f},
                        {16, 1, 64, 50, 1500, 48, 700, 1.0f}}) {
    Inputs inputs(c);
    Attention(inputs.args, one);
    const std::vector<float> expected = inputs.out;
    Attention(inputs.args, three);
    EXPECT_EQ(inputs.out, expected);
  }
}

TEST(Attention, GivesATokenNearlyTheSameResultInAnyChunk) {
  ThreadPool pool(2);
  Case whole{4, 2, 32, 150, 0};
  whole.window = 70;
  whole.sink_range = 1;
  Inputs inputs(whole);
  Attention(inputs.args, pool);
  const std::vector<float> expected = inputs.out;
  std::fill(inputs.out.begin(), inputs.out.end(), 7.0f);
  for (int64_t begin = 0, tokens = 1; begin < whole.tokens; begin += tokens, tokens += 11) {
    tokens = std::min(tokens, whole.tokens - begin);
    AttentionArgs chunk = inputs.args;
    chunk.position = begin;
    chunk.queries = {inputs.args.queries.Row(begin), tokens, 128, 128};
    chunk.out = {inputs.args.out.Row(begin), tokens, 128, 128};
    Attention(chunk, pool);
  }
  testing::ExpectWithin(inputs.out, expected, Bound(whole));
}

}  // namespace
}  // namespace npumoe
