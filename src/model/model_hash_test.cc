#include "model/model_hash.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

namespace npumoe {
namespace {

// Every optional part is there, so that every field takes part.
ModelConfig FullConfig(bool longrope) {
  ModelConfig config;
  config.family = "any";
  config.num_layers = 2;
  config.is_moe_layer = {true, false};
  config.attention.layer_has_window = {true, false};
  config.attention.latent = LatentAttention{};
  if (longrope) {
    config.rope.scaling = LongRopeScaling{.short_factors = {1, 2}, .long_factors = {3, 4}};
  } else {
    config.rope.scaling = YarnScaling{};
  }
  return config;
}

std::string HashOf(const ModelConfig& config) {
  Hasher hasher;
  AddConfigToHash(config, hasher);
  return hasher.Hex();
}

using Change = std::function<void(ModelConfig&)>;

#define CHANGE(field, value) [](ModelConfig& c) { c.field = value; }

YarnScaling& Yarn(ModelConfig& config) { return std::get<YarnScaling>(config.rope.scaling); }
LongRopeScaling& LongRope(ModelConfig& config) {
  return std::get<LongRopeScaling>(config.rope.scaling);
}

const Change kBackboneChanges[] = {
    CHANGE(family, "other"),
    CHANGE(hidden_size, 7),
    CHANGE(num_layers, 3),
    CHANGE(vocab_size, 7),
    CHANGE(max_position_embeddings, 7),
    CHANGE(dense_intermediate_size, 7),
    CHANGE(norm, NormKind::kLayer),
    CHANGE(norm_eps, 0.5f),
    CHANGE(embedding_multiplier, 2),
    CHANGE(residual_multiplier, 2),
    CHANGE(logits_divisor, 2),
    CHANGE(lm_head_bias, true),
    CHANGE(tie_word_embeddings, true),
    CHANGE(is_moe_layer[1], true),
};
const Change kAttentionChanges[] = {
    CHANGE(attention.num_heads, 7),
    CHANGE(attention.num_kv_heads, 7),
    CHANGE(attention.head_dim, 8),
    CHANGE(attention.projection_bias, true),
    CHANGE(attention.output_bias, true),
    CHANGE(attention.qk_norm, QkNorm::kWholeRow),
    CHANGE(attention.clip_qkv, 8),
    CHANGE(attention.has_sinks, true),
    CHANGE(attention.scale, 0.5f),
    CHANGE(attention.window_tokens, 128),
    CHANGE(attention.layer_has_window[0], false),
    CHANGE(attention.layer_has_window, {}),
    CHANGE(attention.latent, std::nullopt),
    CHANGE(attention.latent->q_lora_rank, 7),
    CHANGE(attention.latent->kv_lora_rank, 7),
    CHANGE(attention.latent->nope_head_dim, 7),
    CHANGE(attention.latent->rope_head_dim, 7),
    CHANGE(attention.latent->value_head_dim, 7),
    CHANGE(attention.latent->norm_eps, 0.5f),
};
const Change kMoeChanges[] = {
    CHANGE(moe.num_experts, 7),
    CHANGE(moe.experts_per_token, 7),
    CHANGE(moe.expert_intermediate_size, 7),
    CHANGE(moe.rule, RoutingRule::kGroupLimited),
    CHANGE(moe.normalize_top_k, true),
    CHANGE(moe.weight_scale, 2),
    CHANGE(moe.sparse_mixer_jitter, 0.5f),
    CHANGE(moe.num_groups, 2),
    CHANGE(moe.groups_per_token, 2),
    CHANGE(moe.router_bias, true),
    CHANGE(moe.expert_bias, true),
    CHANGE(moe.activation, ExpertActivation::kClampedSwiGlu),
    CHANGE(moe.activation_limit, 7),
    CHANGE(moe.shared_intermediate_size, 7),
    CHANGE(moe.shared_gate, true),
};
const Change kRopeChanges[] = {
    CHANGE(rope.theta, 5e5),
    CHANGE(rope.pairs, RopePairs::kInterleaved),
    CHANGE(rope.scaling, std::monostate()),
    [](ModelConfig& c) { Yarn(c).factor = 2; },
    [](ModelConfig& c) { Yarn(c).original_max_positions = 2; },
    [](ModelConfig& c) { Yarn(c).beta_fast = 2; },
    [](ModelConfig& c) { Yarn(c).beta_slow = 2; },
    [](ModelConfig& c) { Yarn(c).truncate = false; },
    [](ModelConfig& c) { Yarn(c).attention_factor = 2; },
};
const Change kLongRopeChanges[] = {
    [](ModelConfig& c) { LongRope(c).short_factors[1] = 9; },
    [](ModelConfig& c) { LongRope(c).long_factors[1] = 9; },
    [](ModelConfig& c) { LongRope(c).original_max_positions = 9; },
    [](ModelConfig& c) { LongRope(c).short_attention_factor = 9; },
    [](ModelConfig& c) { LongRope(c).long_attention_factor = 9; },
    // The same numbers, divided between the lists in another way.
    [](ModelConfig& c) {
      LongRope(c).short_factors = {1, 2, 3};
      LongRope(c).long_factors = {4};
    },
};

void ExpectAllDifferent(std::span<const Change> changes, bool longrope) {
  std::set<std::string> hashes = {HashOf(FullConfig(longrope))};
  for (size_t i = 0; i < changes.size(); ++i) {
    ModelConfig config = FullConfig(longrope);
    changes[i](config);
    EXPECT_TRUE(hashes.insert(HashOf(config)).second) << "change " << i;
  }
}

TEST(ModelHash, ChangesWithEveryFieldOfTheBackbone) { ExpectAllDifferent(kBackboneChanges, false); }
TEST(ModelHash, ChangesWithEveryFieldOfAttention) { ExpectAllDifferent(kAttentionChanges, false); }
TEST(ModelHash, ChangesWithEveryFieldOfTheExperts) { ExpectAllDifferent(kMoeChanges, false); }
TEST(ModelHash, ChangesWithEveryFieldOfPositions) { ExpectAllDifferent(kRopeChanges, false); }
TEST(ModelHash, ChangesWithEveryFieldOfLongRope) { ExpectAllDifferent(kLongRopeChanges, true); }

TEST(ModelHash, IsTheSameForTheSameConfig) {
  EXPECT_EQ(HashOf(FullConfig(true)), HashOf(FullConfig(true)));
}

}  // namespace
}  // namespace npumoe
