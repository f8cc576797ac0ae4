// ModelWeights: every tensor of a model by its role. Views into mapped files (or into buffers: a
// synthetic model's, or of the few layouts that no kernel can read in place), in the type that the
// file has: F32, F16, BF16 or, for matrices, a quantised type. Matrices are row-major [out, in],
// as Hugging Face stores them. Vectors (norms, biases, sinks) are never quantised.
#pragma once

#include <memory>
#include <vector>

#include "base/tensor_view.h"

namespace npumoe {

// y = down(activation(gate x, up x))
struct FfnWeights {
  TensorView gate;                                          // [intermediate, hidden]
  TensorView up;                                            // [intermediate, hidden]
  TensorView down;                                          // [hidden, intermediate]
  TensorView gate_bias = {}, up_bias = {}, down_bias = {};  // empty without bias
};

// Latent attention (config.h) in place of q, k and v.
struct LatentAttentionWeights {
  TensorView q_a;        // [q_lora_rank, hidden]; empty where q is one product
  TensorView q_a_norm;   // [q_lora_rank]
  TensorView q_b;        // [query_size, q_lora_rank]
  TensorView kv_a;       // [kv_lora_rank + rope_head_dim, hidden]
  TensorView kv_a_norm;  // [kv_lora_rank]
  TensorView kv_b;       // [heads * (nope_head_dim + value_head_dim), kv_lora_rank]
};

struct AttentionWeights {
  TensorView q, k, v;                 // [query_size | kv_size, hidden]
  TensorView o;                       // [hidden, output_size]
  TensorView q_bias, k_bias, v_bias;  // empty without bias
  TensorView o_bias;
  TensorView q_norm, k_norm;  // [head_dim], or [query_size] and [kv_size]; empty without QK norm
  TensorView sinks;           // [heads]; empty without
  LatentAttentionWeights latent;
};

struct LayerWeights {
  TensorView attention_norm;                      // [hidden]
  TensorView ffn_norm;                            // [hidden]
  TensorView attention_norm_bias, ffn_norm_bias;  // empty for RMS norms
  AttentionWeights attention;
  TensorView router;                // [experts, hidden]; empty in a dense layer
  TensorView router_bias;           // [experts] or empty
  TensorView shared_gate;           // [1, hidden] or empty
  std::vector<FfnWeights> experts;  // [expert_count]: the shared one last; empty in a dense layer
  FfnWeights dense;                 // empty in a MoE layer
};

struct ModelWeights {
  TensorView embedding;   // [vocab, hidden]
  TensorView final_norm;  // [hidden]
  TensorView final_norm_bias;
  TensorView lm_head;       // [vocab, hidden]; the embedding when tied
  TensorView lm_head_bias;  // [vocab] or empty
  std::vector<LayerWeights> layers;
  std::vector<std::shared_ptr<const void>> storage;  // keeps the views alive
};

}  // namespace npumoe
