#include "plan/attention_shape.h"

#include <algorithm>

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

}  // namespace

Status CheckAttentionFits(const ModelConfig& config) {
  if (config.attention.latent) {
    return Unsupported("latent attention is CPU work: its cache holds no keys and values");
  }
  if (config.rope.pairs == RopePairs::kInterleaved) {
    return Unsupported("attention that rotates neighbouring channels is CPU work");
  }
  return OkStatus();
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
  return shape;
}

int64_t HistoryTokens(const ModelConfig& config, int layer, int64_t position) {
  const int64_t window = config.attention.WindowOf(layer);
  return window == 0 ? position : std::min(position, window - 1);
}

}  // namespace npumoe
