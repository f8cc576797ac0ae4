#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/test_models.h"

namespace npumoe {
namespace {

TEST(RunningMean, GivesMeanAndStandardError) {
  RunningMean mean;
  for (const double value : {1.0, 2.0, 3.0, 6.0}) mean.Add(value);
  EXPECT_DOUBLE_EQ(mean.mean(), 3);
  // Sample variance (4 + 1 + 0 + 9) / 3, over 4 values.
  EXPECT_DOUBLE_EQ(mean.StandardError(), std::sqrt(14.0 / 3 / 4));
}

TEST(RunningMean, OfOneValueHasNoError) {
  RunningMean mean;
  mean.Add(5);
  EXPECT_EQ(mean.StandardError(), 0);
}

TEST(NegativeLogLikelihood, OfEqualLogitsIsTheLogOfTheirNumber) {
  const std::vector<float> logits(8, 3.0f);
  EXPECT_NEAR(NegativeLogLikelihood(logits, 5), std::log(8.0), 1e-12);
}

TEST(NegativeLogLikelihood, SurvivesLargeLogits) {
  const std::vector<float> logits{1e30f, 0, -1e30f};
  EXPECT_EQ(NegativeLogLikelihood(logits, 0), 0);
}

class Perplexity : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadForTest(GoldenFolder("qwen3-moe"));
    ids_ = Expected("qwen3-moe").Ints("long.ids");
    session_ = OpenSession(model_, pool_);
  }
  ThreadPool pool_{2};
  std::shared_ptr<const Model> model_;
  std::vector<int32_t> ids_;
  std::unique_ptr<Session> session_;
};

// The definition, word by word, from the reference's logits of a window that is the whole text.
TEST_F(Perplexity, EqualsTheDefinitionOnReferenceLogits) {
  const Expected expected("qwen3-moe");
  const std::vector<float> logits = expected.Floats("short.logits");  // 40 tokens
  const std::vector<int32_t> ids = expected.Ints("short.ids");
  double sum = 0;
  for (size_t i = 20; i <= 38; ++i) {
    const float* row = logits.data() + i * 512;
    double exps = 0;
    for (size_t v = 0; v < 512; ++v) exps += std::exp(static_cast<double>(row[v]));
    sum += std::log(exps) - row[ids[i + 1]];
  }
  std::vector<int32_t> twice = ids;
  twice.insert(twice.end(), ids.begin(), ids.end());
  const auto result = MeasurePerplexity(*session_, twice, {40});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->windows, 2);
  EXPECT_EQ(result->scored_tokens, 2 * 19);
  EXPECT_NEAR(result->mean_nll, sum / 19, 1e-4);
  EXPECT_DOUBLE_EQ(result->perplexity, std::exp(result->mean_nll));
}

TEST_F(Perplexity, LeavesTheRestOfTheTextOut) {
  const auto result = MeasurePerplexity(*session_, ids_, {64});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->windows, 3);
  EXPECT_EQ(result->scored_tokens, 3 * 31);
}

TEST_F(Perplexity, UsesOnlyTheFirstWindowsOfALongerText) {
  const auto all = MeasurePerplexity(*session_, std::span(ids_).first(128), {64});
  const auto one = MeasurePerplexity(*session_, ids_, {64, 1});
  const auto two = MeasurePerplexity(*session_, ids_, {64, 2});
  ASSERT_TRUE(all.ok() && one.ok() && two.ok()) << one.status().message();
  EXPECT_EQ(one->windows, 1);
  EXPECT_EQ(two->windows, 2);
  EXPECT_DOUBLE_EQ(two->perplexity, all->perplexity);
}

TEST_F(Perplexity, RefusesLessThanTwoWindows) {
  const auto result = MeasurePerplexity(*session_, ids_, {128});
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("200 tokens"), std::string::npos);
}

TEST_F(Perplexity, RefusesAWindowBeyondTheContext) {
  const auto small = OpenSession(model_, pool_, {.context_tokens = 50});
  EXPECT_EQ(MeasurePerplexity(*small, ids_, {64}).status().code(), StatusCode::kUsage);
}

}  // namespace
}  // namespace npumoe
