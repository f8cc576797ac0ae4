#include "plan/attention_shape.h"

#include <algorithm>

#include "base/check.h"

namespace npumoe {
namespace {

HeadNorm HeadNormOf(QkNorm norm) {
  switch (norm) {
    case QkNorm::kNone:
      return HeadNorm::kNone;
    case QkNorm::kPerHead:
      return HeadNorm::kPerHead;
    case QkNorm::kWholeRow:
      return HeadNorm::kWholeWidth;
  }
  return HeadNorm::kNone;
}

RotaryPairs PairsOf(RopePairs pairs) {
  return pairs == RopePairs::kInterleaved ? RotaryPairs::kSideBySide : RotaryPairs::kHalves;
}

}  // namespace

Status CheckAttentionFits(const ModelConfig& config) {
  const AttentionConfig& attention = config.attention;
  if (!attention.latent) return OkStatus();
  if (!attention.projection_bias && !attention.output_bias && !attention.has_sinks &&
      attention.clip_qkv == 0 && attention.qk_norm == QkNorm::kNone) {
    return OkStatus();
  }
  return Unsupported(
      "latent attention with biases, norms of heads, a clip or sinks is CPU work: no model has "
      "them "
      "and no program is written for them");
}

AttentionProgramShape AttentionShapeOf(const ModelConfig& config) {
  const AttentionConfig& attention = config.attention;
  AttentionProgramShape shape;
  shape.hidden = config.hidden_size;
  shape.num_heads = attention.num_heads;
  shape.num_kv_heads = attention.num_kv_heads;
  shape.head_dim = attention.head_dim;
  shape.value_dim = attention.value_head_dim();
  shape.rotary_dim = attention.head_dim;
  shape.scale = attention.Scale();
  shape.head_norm = HeadNormOf(attention.qk_norm);
  shape.norm_epsilon = config.norm_eps;
  shape.clip_qkv = attention.clip_qkv;
  shape.rotary_pairs = PairsOf(config.rope.pairs);
  return shape;
}

LatentProgramShape LatentShapeOf(const ModelConfig& config) {
  NPUMOE_CHECK(config.attention.latent.has_value());
  const LatentAttention& latent = *config.attention.latent;
  LatentProgramShape shape;
  shape.hidden = config.hidden_size;
  shape.num_heads = config.attention.num_heads;
  shape.query_rank = latent.q_lora_rank;
  shape.rank = latent.kv_lora_rank;
  shape.nope_dim = latent.nope_head_dim;
  shape.rotary_dim = latent.rope_head_dim;
  shape.value_dim = latent.value_head_dim;
  shape.scale = config.attention.Scale();
  shape.norm_epsilon = latent.norm_eps;
  shape.rotary_pairs = PairsOf(config.rope.pairs);
  return shape;
}

int64_t HistoryTokens(const ModelConfig& config, int layer, int64_t position) {
  const int64_t window = config.attention.WindowOf(layer);
  return window == 0 ? position : std::min(position, window - 1);
}

}  // namespace npumoe
