// What a model family is, as data: the `model_type` it answers to, how its config.json is read,
// and a table from the names of its tensors to their roles and shapes. Loading, checking and
// synthetic models work from that table alone.
//
// A new family is one small file beside this one and a line in families.cc.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "model/config.h"

namespace npumoe {

// Where a tensor goes in ModelWeights (weights.h).
enum class TensorRole : uint8_t {
  kEmbedding,
  kFinalNorm,
  kLmHead,
  kAttentionNorm,
  kFfnNorm,
  kQ,
  kK,
  kV,
  kO,
  kQBias,
  kKBias,
  kVBias,
  kOBias,
  kQNorm,
  kKNorm,
  kRouter,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kDenseGate,
  kDenseUp,
  kDenseDown,
  kFinalNormBias,
  kLmHeadBias,
  kAttentionNormBias,
  kFfnNormBias,
  kSinks,
  kQueryDown,         // latent attention: q_a
  kQueryDownNorm,     // q_a_norm
  kQueryUp,           // q_b
  kKeyValueDown,      // kv_a
  kKeyValueDownNorm,  // kv_a_norm
  kKeyValueUp,        // kv_b
  kRouterBias,
  kSharedGate,        // what weighs the shared expert
  kSharedExpertGate,  // the shared expert's own gate, up and down
  kSharedExpertUp,
  kSharedExpertDown,
  kExpertGateBias,
  kExpertUpBias,
  kExpertDownBias,
};

// The length of one axis, looked up in the config.
enum class TensorAxis : uint8_t {
  kNone,
  kVocab,
  kHidden,
  kQuery,     // num_heads * head_dim
  kKeyValue,  // num_kv_heads * head_dim
  kHeadDim,
  kExperts,
  kExpertIntermediate,
  kDenseIntermediate,
};

// When a model has the tensor.
enum class TensorPresence : uint8_t {
  kAlways,
  kUnlessTied,  // may stand in a model with tied embeddings, too; then it is used
  kProjectionBias,
  kOutputBias,
  kHeadNorm,
  kMoeLayer,
  kDenseLayer,
};

struct TensorPattern {
  // "{layer}" and "{expert}" stand for the indices; a name without "{layer}" stands once.
  std::string_view name;
  TensorRole role;
  std::array<TensorAxis, 2> axes;  // [out, in], or [n, kNone] for a vector
  TensorPresence presence = TensorPresence::kAlways;
};

struct ModelFamily {
  std::string_view model_type;
  Result<ModelConfig> (*read_config)(const JsonObject& config_json);
  std::span<const TensorPattern> tensors;
  // Ends of names of tensors that files may hold and nobody reads (constants that old
  // checkpoints stored).
  std::span<const std::string_view> ignored_suffixes;
};

std::span<const ModelFamily* const> AllFamilies();
// Null: unknown.
const ModelFamily* FindFamily(std::string_view model_type);

}  // namespace npumoe
