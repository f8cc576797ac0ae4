#include "runtime/latent_attention.h"

#include <algorithm>

#include "kernels/attention/attention.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/transposed.h"
#include "kernels/norm/rms_norm.h"
#include "runtime/attention.h"

namespace npumoe {
namespace {

// Expanded keys and values that exist at once, unless one head's are more (chosen: 64 MB hold all
// heads of DeepSeek-V2-Lite for 3,000 tokens).
constexpr int64_t kExpandedFloats = int64_t{16} << 20;

// Rows [begin, begin + rows) of a matrix [N, columns].
TensorView WeightRows(const TensorView& weight, int64_t begin, int64_t rows) {
  const int64_t columns = weight.shape[1];
  return {weight.dtype, Shape{rows, columns}, weight.data + BytesOf(weight.dtype, begin * columns)};
}

Matrix Columns(const Matrix& matrix, int64_t begin, int64_t columns) {
  return {matrix.data + begin, matrix.rows, columns, matrix.stride};
}

class LatentLayer {
 public:
  // Rows from `position` on, whose latents go to `own`.
  LatentLayer(LayerContext& context, int layer, const AttentionWeights& weights, int64_t position,
              Matrix own)
      : context_(context),
        config_(context.config.attention),
        latent_(*config_.latent),
        weights_(weights),
        q_bias_(context.vectors.Layer(layer).q_bias),
        position_(position),
        own_(own),
        cached_(context.cache.Keys(layer, 0, position + own.rows)) {
    args_.num_heads = config_.num_heads;
    args_.scale = config_.Scale();
    args_.position = position;
    args_.window = config_.WindowOf(layer);
  }

  void Project(ConstMatrix normed) {
    const LatentAttentionWeights& weights = weights_.latent;
    const float eps = latent_.norm_eps;
    queries_ = Rows(context_.queries, own_.rows, config_.query_size());
    if (weights.q_a.empty()) {
      MatMul(normed, weights_.q, q_bias_, queries_, context_.pool);
    } else {
      const Matrix low = Rows(context_.low_rank_queries, own_.rows, latent_.q_lora_rank);
      MatMul(normed, weights.q_a, {}, low, context_.pool);
      RmsNorm(low, weights.q_a_norm, eps, low, context_.pool);
      MatMul(low, weights.q_b, {}, queries_, context_.pool);
    }
    MatMul(normed, weights.kv_a, {}, own_, context_.pool);
    const Matrix compressed = Columns(own_, 0, latent_.kv_lora_rank);
    RmsNorm(compressed, weights.kv_a_norm, eps, compressed, context_.pool);
    Rotate();
  }

  void AttendExpanded(Matrix attended) {
    const int64_t floats_per_head = cached_.rows * (config_.head_dim + latent_.value_head_dim);
    const auto group = static_cast<int>(
        std::clamp<int64_t>(kExpandedFloats / floats_per_head, 1, config_.num_heads));
    for (int head = 0; head < config_.num_heads; head += group) {
      AttendHeads(head, std::min(group, config_.num_heads - head), attended);
    }
  }

  void AttendAbsorbed(Matrix attended) {
    const int rank = latent_.kv_lora_rank;
    const int row_size = latent_.cache_size();
    const Matrix absorbed = Rows(context_.absorbed_queries, config_.num_heads, row_size);
    const Matrix mixed = Rows(context_.mixed_latents, config_.num_heads, rank);
    context_.pool.ParallelFor(config_.num_heads, [&](int64_t head, int) {
      const float* query = queries_.data + head * config_.head_dim;
      MatMulTransposedOnThisThread({query, 1, latent_.nope_head_dim, latent_.nope_head_dim},
                                   KeyRows(head), {absorbed.Row(head), 1, rank, rank});
      std::copy_n(query + latent_.nope_head_dim, latent_.rope_head_dim, absorbed.Row(head) + rank);
    });
    args_.num_kv_heads = 1;
    args_.head_dim = row_size;
    args_.value_dim = rank;
    args_.queries = {absorbed.data, 1, config_.num_heads * row_size, config_.num_heads * row_size};
    args_.keys = cached_;
    args_.values = Columns(cached_, 0, rank);
    args_.out = {mixed.data, 1, config_.num_heads * rank, config_.num_heads * rank};
    Attention(args_, context_.pool);
    context_.pool.ParallelFor(config_.num_heads, [&](int64_t head, int) {
      const int size = latent_.value_head_dim;
      MatMulOnThisThread({mixed.Row(head), 1, rank, rank}, ValueRows(head), {},
                         {attended.data + head * size, 1, size, size});
    });
  }

 private:
  TensorView KeyRows(int64_t head) const {
    const int64_t rows = latent_.nope_head_dim + latent_.value_head_dim;
    return WeightRows(weights_.latent.kv_b, head * rows, latent_.nope_head_dim);
  }
  TensorView ValueRows(int64_t head) const {
    const int64_t rows = latent_.nope_head_dim + latent_.value_head_dim;
    return WeightRows(weights_.latent.kv_b, head * rows + latent_.nope_head_dim,
                      latent_.value_head_dim);
  }

  void Rotate() {
    RopeArgs queries = RopeFor(context_, queries_, config_.head_dim, position_);
    queries.rotary_offset = latent_.nope_head_dim;
    queries.rotary_dim = latent_.rope_head_dim;
    Rope(queries, context_.pool);
    Rope(RopeFor(context_, Columns(own_, latent_.kv_lora_rank, latent_.rope_head_dim),
                 latent_.rope_head_dim, position_),
         context_.pool);
  }

  // Heads [head, head + count).
  void AttendHeads(int head, int count, Matrix attended) {
    const Matrix keys = Rows(context_.expanded_keys, cached_.rows, count * config_.head_dim);
    const Matrix values =
        Rows(context_.expanded_values, cached_.rows, count * latent_.value_head_dim);
    Expand(head, count, keys, values);
    args_.num_heads = args_.num_kv_heads = count;
    args_.head_dim = config_.head_dim;
    args_.value_dim = latent_.value_head_dim;
    args_.queries = Columns(queries_, head * config_.head_dim, count * config_.head_dim);
    args_.keys = keys;
    args_.values = values;
    args_.out = Columns(attended, head * latent_.value_head_dim, count * latent_.value_head_dim);
    Attention(args_, context_.pool);
  }

  void Expand(int head, int count, Matrix keys, Matrix values) {
    const Matrix compressed = Columns(cached_, 0, latent_.kv_lora_rank);
    for (int i = 0; i < count; ++i) {
      MatMul(compressed, KeyRows(head + i), {},
             Columns(keys, i * config_.head_dim, latent_.nope_head_dim), context_.pool);
      MatMul(compressed, ValueRows(head + i), {},
             Columns(values, i * latent_.value_head_dim, latent_.value_head_dim), context_.pool);
    }
    context_.pool.ParallelRanges(cached_.rows, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        const float* rope = cached_.Row(r) + latent_.kv_lora_rank;
        for (int i = 0; i < count; ++i) {
          std::copy_n(rope, latent_.rope_head_dim,
                      keys.Row(r) + i * config_.head_dim + latent_.nope_head_dim);
        }
      }
    });
  }

  LayerContext& context_;
  const AttentionConfig& config_;
  const LatentAttention& latent_;
  const AttentionWeights& weights_;
  std::span<const float> q_bias_;
  int64_t position_;
  Matrix own_;     // the rows' latents
  Matrix cached_;  // with everything before
  Matrix queries_;
  AttentionArgs args_;
};

}  // namespace

void AttendLatent(LayerContext& context, int layer, const ChunkRows& rows, ConstMatrix normed,
                  Matrix attended) {
  LatentLayer latent(context, layer,
                     context.model.weights.layers[static_cast<size_t>(layer)].attention,
                     rows.position, context.cache.Keys(layer, rows.position, rows.tokens));
  latent.Project(normed);
  if (rows.tokens == 1) {
    latent.AttendAbsorbed(attended);
  } else {
    latent.AttendExpanded(attended);
  }
}

void AttendLatentRow(LayerContext& context, int layer, const AttentionWeights& weights,
                     int64_t position, ConstMatrix normed, const LatentRow& out) {
  LatentLayer latent(context, layer, weights, position, out.latents);
  latent.Project(normed);
  latent.AttendAbsorbed(out.attended);
}

}  // namespace npumoe
