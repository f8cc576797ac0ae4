// The architectures of GGUF that this build computes, as data: which family stands behind a name,
// and what a file's keys leave unsaid because every engine knows it of the architecture.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "model/config.h"
#include "model/tensor_roles.h"

namespace npumoe {

struct GgufArchitecture {
  std::string_view name;    // general.architecture, and the prefix of its keys
  std::string_view family;  // ModelConfig::family
  // How the rows of q and k stand in files. Converters reorder them for architectures that turn
  // neighbouring elements.
  RopePairs pairs = RopePairs::kHalves;
  QkNorm qk_norm = QkNorm::kNone;
  NormKind norm = NormKind::kRms;
  RoutingRule rule = RoutingRule::kSoftmaxTopK;
  bool normalizes_top_k = false;  // where expert_weights_norm is absent
  // Whether experts have a width of their own (expert_feed_forward_length), not the model's
  // feed_forward_length.
  bool has_expert_width = false;
  ExpertActivation activation = ExpertActivation::kSwiGlu;
  // Sinks, and biases of router and experts.
  bool has_sinks_and_expert_biases = false;
  std::string_view ffn_norm = "ffn_norm";  // what its files call the norm before the FFN
};

std::span<const GgufArchitecture> AllGgufArchitectures();
// Null: not one of ours.
const GgufArchitecture* FindGgufArchitecture(std::string_view name);
const GgufArchitecture* GgufArchitectureOfFamily(std::string_view family);

// "blk.3.attn_q.weight". Of the roles of experts: the stacked tensor of all experts.
std::string GgufTensorName(const GgufArchitecture& architecture, TensorRole role, int layer);
// Of old files that have one tensor an expert: "blk.3.ffn_gate.17.weight". Empty for other roles.
std::string GgufSingleExpertName(TensorRole role, int layer, int expert);

}  // namespace npumoe
