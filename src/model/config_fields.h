// Fields of config.json that several families share: typed, within sane limits, in the style of
// the model hub and in the newer one (`rope_parameters`), and refusals of what this build cannot
// compute. families/<family>.cc puts them together.
#pragma once

#include <string>

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

// A required integer from 1 to `max`.
Result<int> ReadDimension(const JsonObject& json, const std::string& key, int max);
// `num_experts`, or `num_local_experts` as newer files call it; 0 is a model without experts.
Result<int> ReadExpertCount(const JsonObject& json);

// hidden_size, num_hidden_layers, vocab_size, max_position_embeddings, rms_norm_eps and
// tie_word_embeddings.
Status ReadBackbone(const JsonObject& json, ModelConfig& config);
// Head counts and head_dim (hidden_size / heads where it is absent).
Result<AttentionConfig> ReadAttention(const JsonObject& json, int hidden_size);
// rope_theta from the top level or from rope_parameters; any scaling is refused by name.
Result<RopeConfig> ReadPlainRope(const JsonObject& json);

Status RefuseQuantization(const JsonObject& json);
Status RefuseActivationOtherThanSilu(const JsonObject& json);
Status RefuseSlidingWindow(const JsonObject& json);

}  // namespace npumoe
