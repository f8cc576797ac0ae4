// ModelWeights: every tensor of a model by its role. Views into mapped files (or into a synthetic
// model's buffers), in the type that the file has: F32, F16 or BF16. Matrices are row-major
// [out, in], as Hugging Face stores them.
#pragma once

#include <memory>
#include <vector>

#include "base/tensor_view.h"

namespace npumoe {

// y = down(silu(gate x) * up x)
struct FfnWeights {
  TensorView gate;  // [intermediate, hidden]
  TensorView up;    // [intermediate, hidden]
  TensorView down;  // [hidden, intermediate]
};

struct AttentionWeights {
  TensorView q, k, v;                 // [query_size | kv_size, hidden]
  TensorView o;                       // [hidden, query_size]
  TensorView q_bias, k_bias, v_bias;  // empty without bias
  TensorView o_bias;
  TensorView q_norm, k_norm;  // [head_dim]; empty without QK norm
};

struct LayerWeights {
  TensorView attention_norm;  // [hidden]
  TensorView ffn_norm;        // [hidden]
  AttentionWeights attention;
  TensorView router;                // [experts, hidden]; empty in a dense layer
  std::vector<FfnWeights> experts;  // [experts]; empty in a dense layer
  FfnWeights dense;                 // empty in a MoE layer
};

struct ModelWeights {
  TensorView embedding;   // [vocab, hidden]
  TensorView final_norm;  // [hidden]
  TensorView lm_head;     // [vocab, hidden]; the embedding when tied
  std::vector<LayerWeights> layers;
  std::vector<std::shared_ptr<const void>> storage;  // keeps the views alive
};

}  // namespace npumoe
