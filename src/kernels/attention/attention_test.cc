#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::RandomFloats;

struct Case {
  int heads, kv_heads, head_dim;
  int64_t tokens, position;
};

struct Inputs {
  explicit Inputs(const Case& c, double range = 1.0)
      : queries(RandomFloats(static_cast<size_t>(c.tokens * c.heads * c.head_dim), 1, range)),
        keys(RandomFloats(static_cast<size_t>((c.position + c.tokens) * c.kv_heads * c.head_dim), 2,
                          range)),
        values(RandomFloats(keys.size(), 3)),
        out(queries.size(), 7.0f) {
    const int64_t width = int64_t{c.heads} * c.head_dim;
    const int64_t kv_width = int64_t{c.kv_heads} * c.head_dim;
    const int64_t context = c.position + c.tokens;
    args.num_heads = c.heads;
    args.num_kv_heads = c.kv_heads;
    args.head_dim = c.head_dim;
    args.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.head_dim)));
    args.position = c.position;
    args.queries = {queries.data(), c.tokens, width, width};
    args.keys = {keys.data(), context, kv_width, kv_width};
    args.values = {values.data(), context, kv_width, kv_width};
    args.out = {out.data(), c.tokens, width, width};
  }
  std::vector<float> queries, keys, values, out;
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
                                    << ", " << c.tokens << " tokens at " << c.position);
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

TEST(Attention, StaysAccurateForLargeScores) {
  ThreadPool pool(2);
  // Scores up to 30 * 30 * 16 / 4: weights concentrate on few keys and the maximum keeps moving.
  ExpectEqualsReference({2, 1, 16, 60, 80}, pool, 30.0);
}

TEST(Attention, GivesTheSameBitsForAnyNumberOfThreads) {
  ThreadPool one(1);
  ThreadPool three(3);
  for (const Case& c : {Case{8, 2, 64, 1, 1500}, {8, 2, 64, 90, 200}}) {
    Inputs inputs(c);
    Attention(inputs.args, one);
    const std::vector<float> expected = inputs.out;
    Attention(inputs.args, three);
    EXPECT_EQ(inputs.out, expected);
  }
}

TEST(Attention, GivesATokenNearlyTheSameResultInAnyChunk) {
  ThreadPool pool(2);
  const Case whole{4, 2, 32, 150, 0};
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
