// Fields of config.json that several families share: typed, within sane limits, and refusals of
// what this build cannot compute. families/<family>.cc puts them together. Positions have a file of
// their own, config_rope.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/config.h"

namespace npumoe {

// Chosen: an order of magnitude above every published model, so that a larger number is a broken
// file and no product of two of them leaves 64 bits.
inline constexpr int kMaxModelLayers = 10'000;
inline constexpr int kMaxModelWidth = 1'000'000;  // hidden, intermediate, heads * head_dim
inline constexpr int kMaxModelHeads = 65'536;
inline constexpr int kMaxModelExperts = 65'536;
inline constexpr int kMaxModelVocabulary = 16'777'216;
inline constexpr int kMaxModelPositions = 1'000'000'000;
inline constexpr double kMaxModelMultiplier = 1e6;

// "NAME: field 'KEY': this build supports ALLOWED, found FOUND; ..."; FOUND is the field's value
// unless a part of it is given.
Status UnsupportedField(const JsonObject& json, const std::string& key, const std::string& allowed);
Status UnsupportedField(const JsonObject& json, const std::string& key, const std::string& allowed,
                        const std::string& found);

// A required integer from 1 to `max`.
Result<int> ReadDimension(const JsonObject& json, const std::string& key, int max);
Result<int> ReadDimension(const JsonObject& json, const std::string& key, int max, int fallback);
// A number above 0; `fallback` where it is absent.
Result<float> ReadMultiplier(const JsonObject& json, const std::string& key, float fallback);

// What transformers assumes where a file says nothing; it differs between families.
struct BackboneDefaults {
  double norm_eps = 1e-6;
};
// hidden_size, num_hidden_layers, vocab_size, max_position_embeddings, rms_norm_eps and
// tie_word_embeddings.
Status ReadBackbone(const JsonObject& json, const BackboneDefaults& defaults, ModelConfig& config);
// Head counts and head_dim (hidden_size / heads where it is absent).
Result<AttentionConfig> ReadAttention(const JsonObject& json, int hidden_size);
// attention_bias, of all four projections.
Status ReadAttentionBias(const JsonObject& json, bool fallback, AttentionConfig& attention);
// layer_types, an entry for each layer; empty where it is absent.
Result<std::vector<std::string>> ReadLayerTypes(const JsonObject& json, int num_layers);
// sliding_window: how many tokens a query sees; 0 where it is absent.
Result<int64_t> ReadWindow(const JsonObject& json);

// `num_experts`, or `num_local_experts` as other files call it; 0 is a model without experts.
Result<int> ReadExpertCount(const JsonObject& json);
// num_experts_per_tok, which must not exceed config.moe.num_experts.
Status ReadExpertsPerToken(const JsonObject& json, ModelConfig& config);
// Both of them, and the experts' width from `width_key`.
Status ReadExperts(const JsonObject& json, const std::string& width_key, ModelConfig& config);
// decoder_sparse_step and mlp_only_layers; intermediate_size where a layer is dense.
Status ReadSparseLayers(const JsonObject& json, ModelConfig& config);
// Every layer has experts, and there must be some.
Status MakeAllLayersMoe(const JsonObject& json, ModelConfig& config);

// Fields that change results and that no family here computes: quantization_config (but for
// `allowed_quant_method`, which a family may read), activations other than silu, and the like.
Status RefuseUnsupportedFields(const JsonObject& json, std::string_view allowed_quant_method = {});
Status RefuseSlidingWindow(const JsonObject& json, int num_layers);

// Rotary positions, in the style of the model hub (rope_theta, rope_scaling) and in the newer one
// (rope_parameters). Plain and YaRN; LongRoPE where `long_rope` allows it.
struct RopeDefaults {
  double theta = 10'000;
  bool long_rope = false;
};
// Needs config.attention and max_position_embeddings.
Result<RopeConfig> ReadRope(const JsonObject& json, const RopeDefaults& defaults,
                            const ModelConfig& config);
// How much YaRN sharpens attention: 0.1 multiplier ln(factor) + 1.
double YarnMagnitude(double factor, double multiplier);

}  // namespace npumoe
