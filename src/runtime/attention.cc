#include "runtime/attention.h"

#include "kernels/activation/activation.h"
#include "kernels/attention/attention.h"
#include "kernels/gemm/gemm.h"
#include "kernels/norm/rms_norm.h"
#include "runtime/latent_attention.h"

namespace npumoe {
namespace {

// Queries, and keys and values straight into the cache.
struct Projections {
  Matrix queries, keys, values;
};

void NormQueriesAndKeys(LayerContext& context, const AttentionWeights& weights,
                        const Projections& out) {
  const float eps = context.config.norm_eps;
  switch (context.config.attention.qk_norm) {
    case QkNorm::kNone:
      return;
    case QkNorm::kPerHead:
      RmsNormPerHead(out.queries, weights.q_norm, eps, out.queries, context.pool);
      RmsNormPerHead(out.keys, weights.k_norm, eps, out.keys, context.pool);
      return;
    case QkNorm::kWholeRow:
      RmsNorm(out.queries, weights.q_norm, eps, out.queries, context.pool);
      RmsNorm(out.keys, weights.k_norm, eps, out.keys, context.pool);
      return;
  }
}

void ClampRows(Matrix rows, float limit, ThreadPool& pool) {
  pool.ParallelRanges(rows.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      Clamp(limit, {rows.Row(r), static_cast<size_t>(rows.columns)});
    }
  });
}

void Project(LayerContext& context, int layer, const AttentionWeights& weights, ConstMatrix normed,
             int64_t position, const Projections& out) {
  const AttentionConfig& config = context.config.attention;
  const LayerVectors& vectors = context.vectors.Layer(layer);
  MatMul(normed, weights.q, vectors.q_bias, out.queries, context.pool);
  MatMul(normed, weights.k, vectors.k_bias, out.keys, context.pool);
  MatMul(normed, weights.v, vectors.v_bias, out.values, context.pool);
  NormQueriesAndKeys(context, weights, out);
  if (config.clip_qkv > 0) {
    for (const Matrix& rows : {out.queries, out.keys, out.values}) {
      ClampRows(rows, config.clip_qkv, context.pool);
    }
  }
  Rope(RopeFor(context, out.queries, config.head_dim, position), context.pool);
  Rope(RopeFor(context, out.keys, config.head_dim, position), context.pool);
}

// Rows of queries that begin at `position`, over everything in the cache up to them.
void AttendToCache(LayerContext& context, int layer, int64_t position, Matrix queries,
                   Matrix attended) {
  const AttentionConfig& config = context.config.attention;
  AttentionArgs args;
  args.num_heads = config.num_heads;
  args.num_kv_heads = config.num_kv_heads;
  args.head_dim = config.head_dim;
  args.scale = config.Scale();
  args.position = position;
  args.window = config.WindowOf(layer);
  args.sinks = context.vectors.Layer(layer).sinks;
  args.queries = queries;
  args.keys = context.cache.Keys(layer, 0, position + queries.rows);
  args.values = context.cache.Values(layer, 0, position + queries.rows);
  args.out = attended;
  Attention(args, context.pool);
}

const AttentionWeights& WeightsOf(const LayerContext& context, int layer) {
  return context.model.weights.layers[static_cast<size_t>(layer)].attention;
}

void AttendGrouped(LayerContext& context, int layer, const ChunkRows& rows, ConstMatrix normed,
                   Matrix attended) {
  const AttentionConfig& config = context.config.attention;
  const Projections projected{Rows(context.queries, rows.tokens, config.query_size()),
                              context.cache.Keys(layer, rows.position, rows.tokens),
                              context.cache.Values(layer, rows.position, rows.tokens)};
  Project(context, layer, WeightsOf(context, layer), normed, rows.position, projected);
  AttendToCache(context, layer, rows.position, projected.queries, attended);
}

Matrix AsRow(std::vector<float>& values, int64_t columns) {
  values.resize(static_cast<size_t>(columns));
  return {values.data(), 1, columns, columns};
}

// One row alone, whose key and value do not go to the cache.
void AttendGroupedRow(LayerContext& context, int layer, const AttentionWeights& weights,
                      int64_t position, ConstMatrix normed, AttentionRow& computed,
                      Matrix attended) {
  const AttentionConfig& config = context.config.attention;
  std::vector<float> query_row;
  computed.cached.resize(2);
  const Projections projected{AsRow(query_row, config.query_size()),
                              AsRow(computed.cached[0], config.kv_size()),
                              AsRow(computed.cached[1], config.kv_size())};
  Project(context, layer, weights, normed, position, projected);
  AttendToCache(context, layer, position, projected.queries, attended);
}

}  // namespace

RopeArgs RopeFor(const LayerContext& context, Matrix rows, int head_dim, int64_t position) {
  const RopeTable& table = context.ropes.Of(context.rope_length);
  RopeArgs args;
  args.rows = rows;
  args.head_dim = head_dim;
  args.inverse_frequencies = table.inverse_frequencies;
  args.scale = table.scale;
  args.interleaved = context.config.rope.pairs == RopePairs::kInterleaved;
  args.position = position;
  return args;
}

AttentionRow ComputeAttentionRow(LayerContext& context, int layer, ChunkRows& rows, int64_t row,
                                 const AttentionWeights& weights) {
  const ModelConfig& config = context.config;
  const LayerWeights& of_layer = context.model.weights.layers[static_cast<size_t>(layer)];
  AttentionRow computed;
  std::vector<float> normed_row, attended_row;
  const Matrix hidden = Rows(rows.hidden, rows.tokens, config.hidden_size);
  const Matrix normed = AsRow(normed_row, config.hidden_size);
  NormRows(context, {hidden.Row(row), 1, hidden.columns, hidden.columns},
           {of_layer.attention_norm, of_layer.attention_norm_bias}, normed);
  const Matrix attended = AsRow(attended_row, config.attention.output_size());
  if (config.attention.latent) {
    const Matrix latents =
        AsRow(computed.cached.emplace_back(), config.attention.latent->cache_size());
    AttendLatentRow(context, layer, weights, rows.position + row, normed, {latents, attended});
  } else {
    AttendGroupedRow(context, layer, weights, rows.position + row, normed, computed, attended);
  }
  MatMul(attended, weights.o, context.vectors.Layer(layer).o_bias,
         AsRow(computed.attended, config.hidden_size), context.pool);
  return computed;
}

void RunAttention(LayerContext& context, int layer, ChunkRows& rows) {
  const CpuWork work(context.stages.attention_ms, context.timeline, rows.chunk, layer, "attention");
  const ModelConfig& config = context.config;
  const LayerWeights& weights = context.model.weights.layers[static_cast<size_t>(layer)];
  const Matrix hidden = Rows(rows.hidden, rows.tokens, config.hidden_size);
  const Matrix normed = Rows(context.normed, rows.tokens, config.hidden_size);
  const Matrix attended = Rows(context.attended, rows.tokens, config.attention.output_size());
  NormRows(context, hidden, {weights.attention_norm, weights.attention_norm_bias}, normed);
  if (config.attention.latent) {
    AttendLatent(context, layer, rows, normed, attended);
  } else {
    AttendGrouped(context, layer, rows, normed, attended);
  }
  const Matrix projected = Rows(context.projected, rows.tokens, config.hidden_size);
  MatMul(attended, weights.attention.o, context.vectors.Layer(layer).o_bias, projected,
         context.pool);
  AddToResidual(context, projected, hidden);
}

}  // namespace npumoe
