#include "eval/kl.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/test_models.h"

namespace npumoe {
namespace {

TEST(CompareRow, OfEqualRowsIsZero) {
  const std::vector<float> row{1, 2, 3};
  EXPECT_EQ(CompareRow(row, row).kl, 0);
  EXPECT_TRUE(CompareRow(row, row).same_top);
}

TEST(CompareRow, IsTheDivergenceOfTheTwoDistributions) {
  const std::vector<float> reference{0, 0};               // 1/2, 1/2
  const std::vector<float> candidate{std::log(3.0f), 0};  // 3/4, 1/4
  const double wanted = 0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25);
  EXPECT_NEAR(CompareRow(reference, candidate).kl, wanted, 1e-7);
}

TEST(CompareRow, IgnoresAShiftOfAllLogits) {
  const std::vector<float> reference{1, 2, 3};
  const std::vector<float> candidate{11, 12, 13};
  EXPECT_NEAR(CompareRow(reference, candidate).kl, 0, 1e-12);
}

TEST(CompareRow, SeesAnotherTop) {
  const std::vector<float> reference{1, 2};
  const std::vector<float> candidate{2, 1};
  EXPECT_FALSE(CompareRow(reference, candidate).same_top);
}

class GoldenKl : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(GoldenKl, AgainstTheReferenceImplementationIsBelowOneInAHundredMillion) {
  const auto& [golden, prompt] = GetParam();
  const Expected expected(golden);
  ThreadPool pool(2);
  const auto session = OpenSession(LoadForTest(GoldenFolder(golden)), pool);
  const std::vector<float> got = PrefillAll(*session, expected.Ints(prompt + ".ids")).logits;
  const std::vector<float> wanted = expected.Floats(prompt + ".logits");
  ASSERT_EQ(got.size(), wanted.size());
  const auto vocab = static_cast<size_t>(session->model().config.vocab_size);
  for (size_t begin = 0; begin < wanted.size(); begin += vocab) {
    EXPECT_LT(
        CompareRow(std::span(wanted).subspan(begin, vocab), std::span(got).subspan(begin, vocab))
            .kl,
        1e-8);
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, GoldenKl,
                         testing::Combine(testing::Values("qwen3-moe", "qwen3-moe-mixed"),
                                          testing::Values("short", "long")));

class Compare : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadForTest(GoldenFolder("qwen3-moe"));
    ids_ = Expected("qwen3-moe").Ints("long.ids");
  }
  ThreadPool pool_{2};
  std::shared_ptr<const Model> model_;
  std::vector<int32_t> ids_;
};

TEST_F(Compare, ASessionAgreesWithItselfInOtherChunks) {
  const auto reference = OpenSession(model_, pool_);
  const auto candidate = OpenSession(model_, pool_, {.cpu_chunk_tokens = 7});
  const auto result = CompareSessions(*reference, *candidate, ids_, 50);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->windows, 4);
  EXPECT_EQ(result->rows, 200);
  EXPECT_LT(result->mean_kl, 1e-10);
  EXPECT_EQ(result->top1_agreement, 1);
  EXPECT_NEAR(result->reference_perplexity, result->candidate_perplexity, 1e-3);
  EXPECT_LT(result->rms_next_probability_change, 1e-6);
}

TEST_F(Compare, AnotherModelIsFarAway) {
  // The same shape with other tokens in front: the candidate reads a shifted text.
  class Shifted : public Session {
   public:
    explicit Shifted(Session& inner) : inner_(inner) {}
    Result<PrefillResult> Prefill(std::span<const int32_t> ids, LogitsWanted wanted,
                                  const std::function<bool()>& cancelled) override {
      std::vector<int32_t> shifted(ids.begin(), ids.end());
      for (int32_t& id : shifted) id = (id + 1) % 512;
      return inner_.Prefill(shifted, wanted, cancelled);
    }
    Result<std::span<const float>> Decode(int32_t id,
                                          const std::function<bool()>& cancelled) override {
      return inner_.Decode(id, cancelled);
    }
    const ComputedAgain& computed_again() const override { return inner_.computed_again(); }
    int64_t position() const override { return inner_.position(); }
    int64_t context_tokens() const override { return inner_.context_tokens(); }
    Status Rewind(int64_t position) override { return inner_.Rewind(position); }
    const Model& model() const override { return inner_.model(); }

   private:
    Session& inner_;
  };
  const auto reference = OpenSession(model_, pool_);
  const auto inner = OpenSession(model_, pool_);
  Shifted candidate(*inner);
  const auto result = CompareSessions(*reference, candidate, ids_, 50);
  ASSERT_TRUE(result.ok());
  EXPECT_GT(result->mean_kl, 0.01);
  EXPECT_LT(result->top1_agreement, 0.5);
  EXPECT_GT(result->max_logit_error, 0.1);
}

TEST_F(Compare, RefusesATextShorterThanAWindow) {
  const auto reference = OpenSession(model_, pool_);
  const auto candidate = OpenSession(model_, pool_);
  EXPECT_FALSE(CompareSessions(*reference, *candidate, ids_, 201).ok());
}

}  // namespace
}  // namespace npumoe
