// Models, chips and routing made from seeds, for the tests and benchmarks of this room.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "calibrate/calibration.h"
#include "calibrate/trace.h"
#include "model/config.h"
#include "npu/profile.h"
#include "plan/planner.h"

namespace npumoe::testdata {

struct AttentionShape {
  int num_heads;
  int num_kv_heads;
  int head_dim;
  QkNorm qk_norm;
};

inline AttentionConfig Attention(const AttentionShape& shape) {
  AttentionConfig attention;
  attention.num_heads = shape.num_heads;
  attention.num_kv_heads = shape.num_kv_heads;
  attention.head_dim = shape.head_dim;
  attention.qk_norm = shape.qk_norm;
  return attention;
}

struct MoeShape {
  int num_experts;
  int experts_per_token;
  int intermediate_size;
};

inline MoeConfig Moe(const MoeShape& shape) {
  MoeConfig moe;
  moe.num_experts = shape.num_experts;
  moe.experts_per_token = shape.experts_per_token;
  moe.expert_intermediate_size = shape.intermediate_size;
  moe.normalize_top_k = true;
  return moe;
}

inline ModelConfig Base(int layers) {
  ModelConfig config;
  config.family = "qwen3_moe";
  config.num_layers = layers;
  config.max_position_embeddings = 40960;
  config.is_moe_layer.assign(static_cast<size_t>(layers), true);
  return config;
}

// Draws `k` different experts by popularity.
inline void Draw(std::mt19937& random, std::discrete_distribution<int>& popularity, size_t k,
                 std::vector<int32_t>& ids) {
  const size_t first = ids.size();
  while (ids.size() < first + k) {
    const int expert = popularity(random);
    if (std::find(ids.begin() + static_cast<ptrdiff_t>(first), ids.end(), expert) == ids.end()) {
      ids.push_back(expert);
    }
  }
}

inline std::vector<double> Popularity(std::mt19937& random, int experts, double skew) {
  std::vector<double> shares;
  for (int e = 0; e < experts; ++e) shares.push_back(std::pow(e + 1.0, -skew) + 1.0 / experts / 8);
  std::shuffle(shares.begin(), shares.end(), random);
  return shares;
}

inline std::vector<std::filesystem::path> ChipFolders() { return {NPUMOE_SOURCE_DIR "/chips"}; }

// Layer shapes of real models, cut to `layers`.
inline ModelConfig Qwen3A3b(int layers) {
  ModelConfig config = Base(layers);
  config.hidden_size = 2048;
  config.vocab_size = 151936;
  config.attention = Attention({32, 4, 128, QkNorm::kPerHead});
  config.moe = Moe({128, 8, 768});
  return config;
}

inline ModelConfig Phi35Moe(int layers) {
  ModelConfig config = Base(layers);
  config.hidden_size = 4096;
  config.vocab_size = 32064;
  config.attention = Attention({32, 8, 128, QkNorm::kNone});
  config.moe = Moe({16, 2, 6400});
  return config;
}

// The shape of the demo model: 4 layers of 32 small experts, top-4.
inline ModelConfig Demo() {
  ModelConfig config = Base(4);
  config.hidden_size = 256;
  config.vocab_size = 4096;
  config.attention = Attention({4, 2, 64, QkNorm::kPerHead});
  config.moe = Moe({32, 4, 128});
  return config;
}

inline ChipProfile Chip(const std::string& name) {
  Result<ChipProfile> profile = LoadChipProfile(name, ChipFolders());
  NPUMOE_CHECK(profile.ok());
  return *std::move(profile);
}

// Every profile in the repository's chips folder.
inline std::vector<ChipProfile> AllChips() {
  std::vector<ChipProfile> chips;
  for (const std::string& name : ListChipProfiles(ChipFolders())) chips.push_back(Chip(name));
  return chips;
}

struct RoutingShape {
  int64_t tokens = 8192;
  double skew = 1.0;  // exponent of the Zipf popularity
  int64_t sequence_tokens = 2048;
  unsigned seed = 1;
};
// Skewed popularity per layer that drifts from topic to topic, so that chunks differ.
inline RoutingTrace MakeTrace(const ModelConfig& config, const RoutingShape& shape) {
  std::mt19937 random(shape.seed);
  constexpr int64_t kTokensPerTopic = 192;  // popularity changes a little after so many tokens
  RoutingTrace trace;
  trace.num_experts = config.moe.num_experts;
  trace.experts_per_token = config.moe.experts_per_token;
  for (const int layer : config.MoeLayers()) {
    LayerRouting& routing = trace.layers.emplace_back();
    routing.layer = layer;
    const std::vector<double> shares = Popularity(random, trace.num_experts, shape.skew);
    std::lognormal_distribution<double> drift(0, 0.4);
    std::discrete_distribution<int> popularity;
    for (int64_t token = 0; token < shape.tokens; ++token) {
      if (token % kTokensPerTopic == 0) {
        std::vector<double> topic = shares;
        for (double& share : topic) share *= drift(random);
        popularity = std::discrete_distribution<int>(topic.begin(), topic.end());
      }
      Draw(random, popularity, static_cast<size_t>(trace.experts_per_token), routing.ids);
    }
  }
  for (int64_t t = 0; t < shape.tokens; t += shape.sequence_tokens) {
    trace.sequence_starts.push_back(t);
  }
  return trace;
}

inline PlanInputs MakeInputs(const ModelConfig& config, const ChipProfile& profile,
                             const RoutingShape& shape) {
  Result<Calibration> calibration = CalibrationFromTrace(MakeTrace(config, shape));
  NPUMOE_CHECK(calibration.ok());
  calibration->model_hash = "model";
  return {config, "model", *std::move(calibration), profile};
}

}  // namespace npumoe::testdata
