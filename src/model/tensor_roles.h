// What the tensors of a model are for, and what follows from it and the config alone: whether a
// layer has such a tensor, and its shape. Names and file layouts belong to the families.
#pragma once

#include <cstdint>
#include <span>

#include "base/tensor_view.h"
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

// How often a model has a tensor of a role.
enum class RoleScope : uint8_t { kModel, kLayer, kExpert };

std::span<const TensorRole> AllTensorRoles();
RoleScope ScopeOf(TensorRole role);
bool IsSharedExpertRole(TensorRole role);
// [out, in] of a matrix, [n] of a vector.
Shape ShapeOf(TensorRole role, const ModelConfig& config);
// Whether `layer` has such a tensor; for roles outside the layers whether the model has it. A model
// with tied embeddings has a head in this sense, too (it may have one of its own).
bool HasTensor(TensorRole role, const ModelConfig& config, int layer);

}  // namespace npumoe
