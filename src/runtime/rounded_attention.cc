#include "runtime/rounded_attention.h"

#include "base/check.h"
#include "graph/weights/materialised.h"
#include "plan/lowering.h"

namespace npumoe {

Status RoundedAttention::Replace(const Graph& graph, const std::vector<std::string>& names,
                                 TensorView& matrix) {
  std::vector<uint16_t>& fp16 = fp16_.emplace_back();
  for (const std::string& name : names) {
    NPUMOE_ASSIGN_OR_RETURN(const std::vector<uint16_t> part, HalvesOf(graph, "w_" + name));
    fp16.insert(fp16.end(), part.begin(), part.end());
  }
  NPUMOE_CHECK(static_cast<int64_t>(fp16.size()) == matrix.shape.elements());
  matrix = {DType::kF16, matrix.shape, reinterpret_cast<const std::byte*>(fp16.data())};
  return OkStatus();
}

Result<RoundedAttention> RoundedAttention::Of(const Plan& plan, const ModelConfig& config,
                                              const AttentionWeights& weights, int layer) {
  Plan first_chunk = plan;
  first_chunk.attention = {{layer}, {0}};  // one function; its size is of no interest
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<Graph> functions,
                          LowerAttention(first_chunk, config, weights, layer));
  const Graph& graph = functions.front();
  RoundedAttention rounded;
  rounded.weights_ = weights;
  AttentionWeights& replaced = rounded.weights_;
  NPUMOE_RETURN_IF_ERROR(rounded.Replace(graph, {"output"}, replaced.o));
  LatentAttentionWeights& latent = replaced.latent;
  const bool low_rank = !latent.q_a.empty();
  if (low_rank) NPUMOE_RETURN_IF_ERROR(rounded.Replace(graph, {"query_down"}, latent.q_a));
  NPUMOE_RETURN_IF_ERROR(rounded.Replace(graph, {"query"}, low_rank ? latent.q_b : replaced.q));
  if (!config.attention.latent) {
    NPUMOE_RETURN_IF_ERROR(rounded.Replace(graph, {"key"}, replaced.k));
    NPUMOE_RETURN_IF_ERROR(rounded.Replace(graph, {"value"}, replaced.v));
    return rounded;
  }
  NPUMOE_RETURN_IF_ERROR(rounded.Replace(graph, {"latent"}, latent.kv_a));
  std::vector<std::string> heads;
  for (int head = 0; head < config.attention.num_heads; ++head) {
    heads.push_back("expand_" + std::to_string(head));
  }
  NPUMOE_RETURN_IF_ERROR(rounded.Replace(graph, heads, latent.kv_b));
  return rounded;
}

}  // namespace npumoe
