// Tables of tensor names that several families share. A table may name more than one model has:
// which roles there are follows from the config (tensor_roles.h).
#pragma once

#include "model/families/family.h"

namespace npumoe {

inline constexpr TensorName kBackboneTensors[] = {
    {"model.embed_tokens.weight", TensorRole::kEmbedding},
    {"model.norm.weight", TensorRole::kFinalNorm},
    {"model.norm.bias", TensorRole::kFinalNormBias},
    {"lm_head.weight", TensorRole::kLmHead},
    {"lm_head.bias", TensorRole::kLmHeadBias},
    {"model.layers.{layer}.input_layernorm.weight", TensorRole::kAttentionNorm},
    {"model.layers.{layer}.input_layernorm.bias", TensorRole::kAttentionNormBias},
    {"model.layers.{layer}.post_attention_layernorm.weight", TensorRole::kFfnNorm},
    {"model.layers.{layer}.post_attention_layernorm.bias", TensorRole::kFfnNormBias},
};

inline constexpr TensorName kGroupedQueryTensors[] = {
    {"model.layers.{layer}.self_attn.q_proj.weight", TensorRole::kQ},
    {"model.layers.{layer}.self_attn.k_proj.weight", TensorRole::kK},
    {"model.layers.{layer}.self_attn.v_proj.weight", TensorRole::kV},
    {"model.layers.{layer}.self_attn.o_proj.weight", TensorRole::kO},
    {"model.layers.{layer}.self_attn.q_proj.bias", TensorRole::kQBias},
    {"model.layers.{layer}.self_attn.k_proj.bias", TensorRole::kKBias},
    {"model.layers.{layer}.self_attn.v_proj.bias", TensorRole::kVBias},
    {"model.layers.{layer}.self_attn.o_proj.bias", TensorRole::kOBias},
};

inline constexpr TensorName kQkNormTensors[] = {
    {"model.layers.{layer}.self_attn.q_norm.weight", TensorRole::kQNorm},
    {"model.layers.{layer}.self_attn.k_norm.weight", TensorRole::kKNorm},
};

inline constexpr TensorName kMlpExpertTensors[] = {
    {"model.layers.{layer}.mlp.gate.weight", TensorRole::kRouter},
    {"model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight", TensorRole::kExpertGate},
    {"model.layers.{layer}.mlp.experts.{expert}.up_proj.weight", TensorRole::kExpertUp},
    {"model.layers.{layer}.mlp.experts.{expert}.down_proj.weight", TensorRole::kExpertDown},
};

inline constexpr TensorName kDenseMlpTensors[] = {
    {"model.layers.{layer}.mlp.gate_proj.weight", TensorRole::kDenseGate},
    {"model.layers.{layer}.mlp.up_proj.weight", TensorRole::kDenseUp},
    {"model.layers.{layer}.mlp.down_proj.weight", TensorRole::kDenseDown},
};

inline constexpr TensorName kBlockSparseExpertTensors[] = {
    {"model.layers.{layer}.block_sparse_moe.gate.weight", TensorRole::kRouter},
    {"model.layers.{layer}.block_sparse_moe.experts.{expert}.w1.weight", TensorRole::kExpertGate},
    {"model.layers.{layer}.block_sparse_moe.experts.{expert}.w3.weight", TensorRole::kExpertUp},
    {"model.layers.{layer}.block_sparse_moe.experts.{expert}.w2.weight", TensorRole::kExpertDown},
};

// What newer versions of transformers hold in memory, and some files as well.
inline constexpr FusedTensor kFusedMlpExperts[] = {
    {"model.layers.{layer}.mlp.experts.gate_up_proj",
     {TensorRole::kExpertGate, TensorRole::kExpertUp},
     FusedRows::kHalves},
    {"model.layers.{layer}.mlp.experts.down_proj",
     {TensorRole::kExpertDown, TensorRole::kExpertDown}},
};

// Buffers that follow from the config and that old checkpoints stored beside the weights.
inline constexpr std::string_view kRotaryBuffers[] = {".rotary_emb.inv_freq"};

}  // namespace npumoe
