// The CPU path against outputs of the reference implementation, one tiny model or more per family.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "runtime/test_models.h"

namespace npumoe {
namespace {

using Case = std::tuple<std::string, std::string, int, int>;  // golden, prompt, chunk, threads

class SessionGolden : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto& [golden, prompt, chunk, threads] = GetParam();
    if (IsMissing(golden)) GTEST_SKIP() << golden << " is not here";
    model_ = LoadForTest(GoldenFolder(golden));
    ASSERT_NE(model_, nullptr);
    expected_ = std::make_unique<Expected>(golden);
    prompt_ = prompt;
    pool_ = std::make_unique<ThreadPool>(threads);
    SessionOptions options;
    options.cpu_chunk_tokens = chunk;
    options.observer = &recorder_;
    session_ = OpenSession(model_, *pool_, options);
    ASSERT_NE(session_, nullptr);
    result_ = PrefillAll(*session_, expected_->Ints(prompt + ".ids"));
  }

  // The reference's experts and weights of one layer, the larger weight first. (DeepSeek's leaves
  // the choices of a token in no order.)
  std::pair<std::vector<int32_t>, std::vector<float>> Routing(int layer) const {
    const std::string name = prompt_ + ".router." + std::to_string(layer);
    std::vector<int32_t> ids = expected_->Ints(name + ".ids");
    std::vector<float> weights = expected_->Floats(name + ".weights");
    if (model_->config.family != "deepseek_v2") return {ids, weights};
    const auto k = static_cast<size_t>(model_->config.moe.experts_per_token);
    for (size_t first = 0; first < ids.size(); first += k) {
      std::vector<std::pair<float, int32_t>> row;
      for (size_t i = first; i < first + k; ++i) row.emplace_back(-weights[i], ids[i]);
      std::sort(row.begin(), row.end());
      for (size_t i = 0; i < k; ++i) {
        weights[first + i] = -row[i].first;
        ids[first + i] = row[i].second;
      }
    }
    return {ids, weights};
  }

  std::shared_ptr<const Model> model_;
  std::unique_ptr<Expected> expected_;
  std::string prompt_;
  std::unique_ptr<ThreadPool> pool_;
  Recorder recorder_;
  std::unique_ptr<Session> session_;
  PrefillResult result_;
};

TEST_P(SessionGolden, ChoosesTheSameExpertsForEveryToken) {
  for (const int layer : model_->config.MoeLayers()) {
    EXPECT_EQ(recorder_.ids[layer], Routing(layer).first) << layer;
  }
}

TEST_P(SessionGolden, WeighsExpertsAsTheReferenceDoes) {
  for (const int layer : model_->config.MoeLayers()) {
    const std::vector<float> wanted = Routing(layer).second;
    ASSERT_EQ(recorder_.weights[layer].size(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_NEAR(recorder_.weights[layer][i], wanted[i], 1e-5) << layer << " " << i;
    }
  }
}

TEST_P(SessionGolden, ComputesTheSameLogits) {
  EXPECT_LE(RelativeError(result_.logits, expected_->Floats(prompt_ + ".logits")), 1e-4);
}

// The goldens hold hidden states and a continuation of the short prompt alone.
class SessionGoldenShort : public SessionGolden {};

TEST_P(SessionGoldenShort, ComputesTheSameHiddenStates) {
  for (int layer = 0; layer < model_->config.num_layers; ++layer) {
    const auto wanted = expected_->Floats("short.hidden." + std::to_string(layer));
    EXPECT_LE(RelativeError(recorder_.hidden[layer], wanted), 1e-4) << layer;
  }
}

TEST_P(SessionGoldenShort, ContinuesWithTheSameTokens) {
  ASSERT_TRUE(session_->Rewind(0).ok());
  recorder_ = Recorder();
  EXPECT_EQ(Greedy(*session_, expected_->Ints("short.ids"), 30), expected_->Ints("short.greedy"));
}

std::string NameOf(const testing::TestParamInfo<Case>& test_case) {
  const auto& [golden, prompt, chunk, threads] = test_case.param;
  std::string name = golden;
  std::replace(name.begin(), name.end(), '-', '_');
  return name + "_" + prompt + "_chunk" + std::to_string(chunk) + "_threads" +
         std::to_string(threads);
}

const auto kGoldens =
    testing::Values("deepseek-v2", "deepseek-v2-yarn", "gpt-oss", "granite-moe", "mixtral",
                    "mixtral-window", "olmoe", "olmoe-clip", "phi-moe", "phi-tiny-moe", "qwen2-moe",
                    "qwen3-moe", "qwen3-moe-mixed", "qwen3-moe-yarn");
const auto kChunks = testing::Values(1, 7, 64, 512);

INSTANTIATE_TEST_SUITE_P(AllChunks, SessionGolden,
                         testing::Combine(kGoldens, testing::Values("short", "long"), kChunks,
                                          testing::Values(1, 2)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(AllChunks, SessionGoldenShort,
                         testing::Combine(kGoldens, testing::Values("short"), kChunks,
                                          testing::Values(1, 2)),
                         NameOf);

}  // namespace
}  // namespace npumoe
