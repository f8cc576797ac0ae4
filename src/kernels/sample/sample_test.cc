#include "kernels/sample/sample.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

namespace npumoe {
namespace {

std::map<int32_t, int> Draw(const SamplingOptions& options, const std::vector<float>& logits,
                            int draws) {
  Sampler sampler(options, 7);
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sampler.Sample(logits)];
  return counts;
}

constexpr SamplingOptions kUnfiltered{1.0f, 0, 1.0f, 0.0f};

TEST(ArgMax, TakesTheSmallestIdOnTies) { EXPECT_EQ(ArgMax(std::vector<float>{1, 5, 2, 5}), 1); }

TEST(Sampler, TakesTheLargestLogitAtTemperatureZero) {
  EXPECT_EQ(Draw({0.0f, 40, 0.95f, 0.05f}, {0, 3, 3, 1}, 20), (std::map<int32_t, int>{{1, 20}}));
}

TEST(Sampler, TakesTheLargestLogitForTopKOne) {
  EXPECT_EQ(Draw({5.0f, 1, 1.0f, 0.0f}, {0, 1, 3, 1}, 20), (std::map<int32_t, int>{{2, 20}}));
}

TEST(Sampler, DrawsInProportionToProbability) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  constexpr int kDraws = 20'000;
  const auto counts = Draw(kUnfiltered, logits, kDraws);
  // Five standard deviations of a binomial count: 5 sqrt(n p (1 - p)) <= 5 sqrt(n) / 2.
  const double bound = 2.5 * std::sqrt(kDraws);
  EXPECT_NEAR(counts.at(0), 0.5 * kDraws, bound);
  EXPECT_NEAR(counts.at(1), 0.3 * kDraws, bound);
  EXPECT_NEAR(counts.at(2), 0.2 * kDraws, bound);
}

TEST(Sampler, TemperatureAppliesToTheProbabilities) {
  const std::vector<float> logits = {std::log(0.8f), std::log(0.2f)};
  SamplingOptions options = kUnfiltered;
  options.temperature = 0.5f;  // squares the odds: 0.64 to 0.04
  constexpr int kDraws = 20'000;
  EXPECT_NEAR(Draw(options, logits, kDraws).at(0), kDraws * 0.64 / 0.68, 2.5 * std::sqrt(kDraws));
}

std::set<int32_t> Support(const SamplingOptions& options, const std::vector<float>& logits) {
  std::set<int32_t> ids;
  for (const auto& [id, count] : Draw(options, logits, 5000)) ids.insert(id);
  return ids;
}

const std::vector<float> kLogits = {std::log(0.1f), std::log(0.4f), std::log(0.3f), std::log(0.2f)};

TEST(Sampler, TopKKeepsTheLargest) {
  SamplingOptions options = kUnfiltered;
  options.top_k = 2;
  EXPECT_EQ(Support(options, kLogits), (std::set<int32_t>{1, 2}));
}

TEST(Sampler, TopPKeepsTheShortestPrefixThatReachesIt) {
  SamplingOptions options = kUnfiltered;
  options.top_p = 0.65f;
  EXPECT_EQ(Support(options, kLogits), (std::set<int32_t>{1, 2}));
}

TEST(Sampler, MinPKeepsAShareOfTheLargest) {
  SamplingOptions options = kUnfiltered;
  options.min_p = 0.4f;  // of 0.4: at least 0.16
  EXPECT_EQ(Support(options, kLogits), (std::set<int32_t>{1, 2, 3}));
}

TEST(Sampler, FiltersSeeProbabilitiesBeforeTheTemperature) {
  SamplingOptions options = kUnfiltered;
  options.top_p = 0.65f;
  options.temperature = 100.0f;  // would flatten the distribution if it came first
  EXPECT_EQ(Support(options, kLogits), (std::set<int32_t>{1, 2}));
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(ArgMax, PassesOverNan) { EXPECT_EQ(ArgMax(std::vector<float>{kNan, 1, kNan, 5, kNan}), 3); }

TEST(Sampler, NeverDrawsALogitThatIsNan) {
  EXPECT_EQ(Support(kUnfiltered, {kNan, 1, kNan, 1, kNan}), (std::set<int32_t>{1, 3}));
}

TEST(Sampler, TakesAnInfiniteLogit) {
  EXPECT_EQ(Support(kUnfiltered, {0, 1, kInfinity, 2}), (std::set<int32_t>{2}));
}

TEST(SamplerDeathTest, RefusesATemperatureThatIsNoNumber) {
  for (const float temperature : {kNan, kInfinity}) {
    EXPECT_DEATH(Sampler({temperature, 40, 0.95f, 0.05f}, 1), "isfinite");
  }
}

TEST(Sampler, RepeatsItsTokensForTheSameSeedAndNotForAnother) {
  const std::vector<float> logits(50, 0.0f);
  const auto tokens = [&](uint64_t seed) {
    Sampler sampler(kUnfiltered, seed);
    std::vector<int32_t> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(sampler.Sample(logits));
    return ids;
  };
  EXPECT_EQ(tokens(1), tokens(1));
  EXPECT_NE(tokens(1), tokens(2));
}

}  // namespace
}  // namespace npumoe
