// The CPU path against outputs of the reference implementation (tests/data/goldens).
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "runtime/test_models.h"

namespace npumoe {
namespace {

using Case = std::tuple<std::string, std::string, int, int>;  // golden, prompt, chunk, threads

class SessionGolden : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto& [golden, prompt, chunk, threads] = GetParam();
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
    const std::string name = prompt_ + ".router." + std::to_string(layer);
    EXPECT_EQ(recorder_.ids[layer], expected_->Ints(name + ".ids")) << name;
  }
}

TEST_P(SessionGolden, WeighsExpertsAsTheReferenceDoes) {
  for (const int layer : model_->config.MoeLayers()) {
    const std::string name = prompt_ + ".router." + std::to_string(layer) + ".weights";
    const std::vector<float> wanted = expected_->Floats(name);
    ASSERT_EQ(recorder_.weights[layer].size(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_NEAR(recorder_.weights[layer][i], wanted[i], 1e-5) << name << " " << i;
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
  return std::string(golden == "qwen3-moe" ? "moe" : "mixed") + "_" + prompt + "_chunk" +
         std::to_string(chunk) + "_threads" + std::to_string(threads);
}

INSTANTIATE_TEST_SUITE_P(AllChunks, SessionGolden,
                         testing::Combine(testing::Values("qwen3-moe", "qwen3-moe-mixed"),
                                          testing::Values("short", "long"),
                                          testing::Values(1, 7, 64, 512), testing::Values(1, 2)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(AllChunks, SessionGoldenShort,
                         testing::Combine(testing::Values("qwen3-moe", "qwen3-moe-mixed"),
                                          testing::Values("short"), testing::Values(1, 7, 64, 512),
                                          testing::Values(1, 2)),
                         NameOf);

}  // namespace
}  // namespace npumoe
