#include "kernels/router/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::AsMatrix;
using testing::RandomFloats;

// Arguments with their buffers.
struct Routing {
  Routing(RouterRule rule, std::vector<float> the_logits, int64_t tokens, int k, int choices = 0)
      : logits(std::move(the_logits)) {
    args.rule = rule;
    args.k = k;
    args.choices = choices == 0 ? k : choices;
    args.logits = AsMatrix(logits, tokens, static_cast<int64_t>(logits.size()) / tokens);
    ids.assign(static_cast<size_t>(tokens * args.choices), -7);
    weights.assign(ids.size(), -7.0f);
    args.ids = ids;
    args.weights = weights;
  }
  std::vector<float> logits;
  std::vector<int32_t> ids;
  std::vector<float> weights;
  RouterArgs args;
};

// exp is exact to 2 u in both, sums of up to 128 and 8 positive numbers to their length times u,
// and a product with the scale adds one more, on weights of at most `scale`.
double Bound(float scale) { return (2 * 128 + 2 * 8 + 7) * testing::kUnitRoundoff * double{scale}; }

void ExpectEqualsReference(Routing& routing, ThreadPool& pool) {
  RouteReference(routing.args);
  const std::vector<int32_t> expected_ids = routing.ids;
  const std::vector<float> expected = routing.weights;
  std::fill(routing.ids.begin(), routing.ids.end(), -7);
  std::fill(routing.weights.begin(), routing.weights.end(), -7.0f);
  Route(routing.args, pool);
  EXPECT_EQ(routing.ids, expected_ids);
  testing::ExpectWithin(routing.weights, expected, Bound(routing.args.scale));
}

TEST(Route, ChoosesTheTopKAndTheirSoftmaxAsTheReferenceDoes) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const RouterRule rule : {RouterRule::kSoftmaxTopK, RouterRule::kTopKSoftmax}) {
      for (const bool normalize : {false, true}) {
        for (const int64_t experts : {1, 5, 60, 128}) {
          constexpr int64_t kTokens = 200;
          Routing routing(rule, RandomFloats(static_cast<size_t>(kTokens * experts), 1, 10.0),
                          kTokens, static_cast<int>(std::min<int64_t>(experts, 8)));
          routing.args.normalize = normalize;
          ExpectEqualsReference(routing, pool);
        }
      }
    }
  });
}

TEST(Route, MixesSparselyAsTheReferenceDoes) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const int64_t experts : {2, 3, 16, 60}) {
      // The first jitter is Phi's; the second keeps several logits close to the largest.
      for (const float jitter : {0.01f, 0.3f}) {
        constexpr int64_t kTokens = 300;
        Routing routing(RouterRule::kSparseMixer,
                        RandomFloats(static_cast<size_t>(kTokens * experts), 2, 3.0), kTokens, 2);
        routing.args.jitter = jitter;
        ExpectEqualsReference(routing, pool);
      }
    }
  });
}

TEST(Route, LimitsChoicesToTheBestGroupsAsTheReferenceDoes) {
  ThreadPool pool(2);
  testing::OnEveryTarget([&] {
    for (const auto& [groups, kept] : {std::pair{1, 1}, {4, 2}, {8, 3}, {16, 16}}) {
      constexpr int64_t kTokens = 200, kExperts = 48;
      Routing routing(RouterRule::kGroupLimited, RandomFloats(kTokens * kExperts, 3, 5.0), kTokens,
                      6);
      routing.args.num_groups = groups;
      routing.args.groups_kept = kept;
      routing.args.normalize = kept == 2;
      routing.args.scale = 16.0f;
      ExpectEqualsReference(routing, pool);
    }
  });
}

TEST(Route, PrefersTheSmallerIndexOnTies) {
  ThreadPool pool(1);
  for (const RouterRule rule : {RouterRule::kSoftmaxTopK, RouterRule::kTopKSoftmax}) {
    Routing routing(rule, {1, 3, 3, 0, 3, 1}, 1, 5);
    Route(routing.args, pool);
    EXPECT_EQ(routing.ids, (std::vector<int32_t>{1, 2, 4, 0, 5}));
  }
  Routing sparse(RouterRule::kSparseMixer, {1, 3, 3, 0, 3, 1}, 1, 2);
  Route(sparse.args, pool);
  EXPECT_EQ(sparse.ids, (std::vector<int32_t>{1, 2}));
  Routing grouped(RouterRule::kGroupLimited, {1, 3, 3, 0, 3, 1}, 1, 2);
  grouped.args.num_groups = 3;
  grouped.args.groups_kept = 1;
  Route(grouped.args, pool);
  EXPECT_EQ(grouped.ids, (std::vector<int32_t>{1, 0}));
}

TEST(Route, GivesUnderflowingExpertsWeightZeroInIndexOrder) {
  ThreadPool pool(1);
  Routing routing(RouterRule::kSoftmaxTopK, {-400, 0, -300, -500}, 1, 3);
  Route(routing.args, pool);
  EXPECT_EQ(routing.ids, (std::vector<int32_t>{1, 0, 2}));
  EXPECT_EQ(routing.weights, (std::vector<float>{1, 0, 0}));
}

TEST(Route, SharesTheSparseWeightAmongLogitsWithinTheJitterOnly) {
  ThreadPool pool(1);
  // 2 jitter = 0.02: 9.9 lies within 0.02 * 10 of 10, 9.7 does not; below the second choice, 9.9,
  // again only 9.9 itself and 9.71 (0.19 <= 0.02 * 9.9) take part.
  Routing routing(RouterRule::kSparseMixer, {9.71f, 10, 9.9f, -10}, 1, 2);
  routing.args.jitter = 0.01f;
  Route(routing.args, pool);
  EXPECT_EQ(routing.ids, (std::vector<int32_t>{1, 2}));
  EXPECT_NEAR(routing.weights[0], 1 / (1 + std::exp(-0.1)), 1e-6);
  EXPECT_NEAR(routing.weights[1], 1 / (1 + std::exp(-0.19)), 1e-6);
}

TEST(Route, TreatsTheLogitItselfAsCloseWhereTheLargestIsZero) {
  ThreadPool pool(1);
  Routing routing(RouterRule::kSparseMixer, {-1, 0, 0, -2}, 1, 2);
  routing.args.jitter = 0.01f;
  Route(routing.args, pool);
  EXPECT_EQ(routing.ids, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(routing.weights, (std::vector<float>{0.5f, 1}));
}

TEST(Route, LeavesChoicesBeyondTheRoutedOnesAlone) {
  ThreadPool pool(1);
  Routing routing(RouterRule::kSoftmaxTopK, RandomFloats(3 * 8, 4), 3, 2, 4);
  Route(routing.args, pool);
  for (size_t i = 0; i < routing.ids.size(); ++i) {
    EXPECT_EQ(routing.ids[i] == -7, i % 4 >= 2) << i;
    EXPECT_EQ(routing.weights[i] == -7.0f, i % 4 >= 2) << i;
  }
}

TEST(Route, ChoosesDistinctExistingExpertsForLogitsThatAreNoNumbers) {
  ThreadPool pool(1);
  for (const RouterRule rule : {RouterRule::kSoftmaxTopK, RouterRule::kTopKSoftmax,
                                RouterRule::kSparseMixer, RouterRule::kGroupLimited}) {
    Routing routing(rule, std::vector<float>(8, std::nanf("")), 1, 2);
    routing.args.num_groups = 4;
    routing.args.groups_kept = 2;
    Route(routing.args, pool);
    EXPECT_NE(routing.ids[0], routing.ids[1]);
    for (const int32_t id : routing.ids) EXPECT_TRUE(id >= 0 && id < 8);
  }
}

// A record of tests/data/routing: what Hugging Face transformers chose for these logits.
Routing ReadRecord(const std::string& file, RouterRule rule, std::vector<int32_t>& ids,
                   std::vector<float>& weights) {
  const std::string path = std::string(NPUMOE_SOURCE_DIR) + "/tests/data/routing/" + file;
  const Json record = ReadJsonFile(path).value();
  std::vector<float> logits;
  for (const Json& row : record["logits"]) {
    for (const float value : row) logits.push_back(value);
  }
  for (const Json& row : record["ids"]) ids.insert(ids.end(), row.begin(), row.end());
  for (const Json& row : record["weights"]) weights.insert(weights.end(), row.begin(), row.end());
  return {rule, std::move(logits), static_cast<int64_t>(record["logits"].size()),
          static_cast<int>(record["ids"][0].size())};
}

// The recorded logits were recomputed: their own error moves the weights by up to 1e-6 (measured
// when the records were made).
constexpr double kRecordError = 2e-6;

TEST(Route, MixesSparselyAsTransformersDoesForPhiMoe) {
  ThreadPool pool(1);
  std::vector<int32_t> ids;
  std::vector<float> weights;
  Routing routing = ReadRecord("sparse-mixer.json", RouterRule::kSparseMixer, ids, weights);
  routing.args.jitter = 0.01f;
  Route(routing.args, pool);
  EXPECT_EQ(routing.ids, ids);
  testing::ExpectWithin(routing.weights, weights, kRecordError);
}

// Transformers leaves a token's choices in no order; the record has them by id.
void SortById(int k, std::vector<int32_t>& ids, std::vector<float>& weights) {
  for (size_t first = 0; first < ids.size(); first += static_cast<size_t>(k)) {
    std::vector<std::pair<int32_t, float>> choices;
    for (size_t i = first; i < first + static_cast<size_t>(k); ++i) {
      choices.emplace_back(ids[i], weights[i]);
    }
    std::sort(choices.begin(), choices.end());
    for (size_t i = 0; i < choices.size(); ++i) {
      std::tie(ids[first + i], weights[first + i]) = choices[i];
    }
  }
}

TEST(Route, LimitsGroupsAsTransformersDoesForDeepSeekV2) {
  ThreadPool pool(1);
  std::vector<int32_t> ids;
  std::vector<float> weights;
  Routing routing = ReadRecord("group-limited.json", RouterRule::kGroupLimited, ids, weights);
  routing.args.num_groups = 4;
  routing.args.groups_kept = 2;
  routing.args.scale = 1.5f;
  Route(routing.args, pool);
  SortById(routing.args.k, routing.ids, routing.weights);
  EXPECT_EQ(routing.ids, ids);
  testing::ExpectWithin(routing.weights, weights, kRecordError);
}

}  // namespace
}  // namespace npumoe
