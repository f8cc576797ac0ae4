// Latent attention's kv_b from the two tensors into which some files split it:
//   attn_k_b [heads, kv_lora_rank, nope_head_dim], transposed, and
//   attn_v_b [heads, value_head_dim, kv_lora_rank]; a file may fold the first two axes into one.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "base/tensor_view.h"
#include "model/config.h"

namespace npumoe {

struct JoinedKeyValue {
  TensorView view;  // [heads * (nope_head_dim + value_head_dim), kv_lora_rank]
  std::shared_ptr<const void> storage;
};

// In the tensors' own type where both have the same plain one, else F32. `where` names them in
// messages.
Result<JoinedKeyValue> JoinKeyValue(const AttentionConfig& attention, const TensorView& keys,
                                    const TensorView& values, const std::string& where);

}  // namespace npumoe
