#include "plan/cost_model.h"

#include <gtest/gtest.h>

#include "plan/planning_test_data.h"

namespace npumoe {
namespace {

CostModel Costs(const ModelConfig& config) { return {config, testdata::Chip("m2-max"), 2}; }

ModelConfig WithWindow(int64_t window_tokens) {
  ModelConfig config = testdata::Qwen3A3b(2);
  config.attention.window_tokens = window_tokens;
  return config;
}

// DeepSeek-V2-Lite's attention.
ModelConfig Latent() {
  ModelConfig config = testdata::Qwen3A3b(2);
  config.attention = testdata::Attention({16, 16, 192, QkNorm::kNone});
  config.attention.latent = LatentAttention{0, 512, 128, 64, 128};
  return config;
}

TEST(CostModel, AWindowBoundsTheCostOfHistory) {
  const CostModel windowed = Costs(WithWindow(128));
  EXPECT_DOUBLE_EQ(windowed.AttentionAndRouterMs(64, 1000),
                   windowed.AttentionAndRouterMs(64, 100000));
  EXPECT_LT(windowed.AttentionAndRouterMs(64, 1000),
            Costs(WithWindow(0)).AttentionAndRouterMs(64, 1000));
}

TEST(CostModel, AWindowBeyondTheContextCostsNothing) {
  EXPECT_DOUBLE_EQ(Costs(WithWindow(4096)).AttentionAndRouterMs(64, 1000),
                   Costs(WithWindow(0)).AttentionAndRouterMs(64, 1000));
}

TEST(CostModel, TakesTheMeanOfLayersWithAndWithoutAWindow) {
  ModelConfig mixed = WithWindow(128);
  mixed.attention.layer_has_window = {true, false};
  const double with_ms = Costs(WithWindow(128)).AttentionAndRouterMs(64, 5000);
  const double without_ms = Costs(WithWindow(0)).AttentionAndRouterMs(64, 5000);
  const double mixed_ms = Costs(mixed).AttentionAndRouterMs(64, 5000);
  EXPECT_GT(mixed_ms, with_ms);
  EXPECT_LT(mixed_ms, without_ms);
}

TEST(CostModel, LatentAttentionExpandsItsHistoryForEveryChunk) {
  ModelConfig grouped = Latent();
  grouped.attention.latent.reset();
  const double latent_ms = Costs(Latent()).AttentionAndRouterMs(64, 8000);
  EXPECT_GT(latent_ms, Costs(grouped).AttentionAndRouterMs(64, 8000));
  EXPECT_GT(latent_ms, Costs(Latent()).AttentionAndRouterMs(64, 1000));
}

}  // namespace
}  // namespace npumoe
