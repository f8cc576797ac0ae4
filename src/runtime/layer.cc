#include "runtime/layer.h"

#include <cmath>

#include "kernels/activation/activation.h"
#include "kernels/attention/attention.h"
#include "kernels/convert/convert.h"
#include "kernels/expert/expert.h"
#include "kernels/gemm/gemm.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/rope/rope.h"

namespace npumoe {
namespace {

std::vector<float> ToFloats(const TensorView& tensor) {
  if (tensor.empty()) return {};
  std::vector<float> values(static_cast<size_t>(tensor.shape.elements()));
  ToF32(tensor, 0, values);
  return values;
}

void AddRows(ConstMatrix other, Matrix inout, ThreadPool& pool) {
  pool.ParallelRanges(inout.rows, 1, [&](int64_t begin, int64_t end, int) {
    const auto count = static_cast<size_t>((end - begin) * inout.columns);
    AddTo({other.Row(begin), count}, {inout.Row(begin), count});
  });
}

// Queries into context.queries; keys and values straight into the cache.
void ProjectQkv(LayerContext& context, int layer, const ChunkRows& rows, Matrix queries) {
  const ModelConfig& config = context.config;
  const AttentionWeights& weights =
      context.model.weights.layers[static_cast<size_t>(layer)].attention;
  const LayerBiases& biases = context.biases[static_cast<size_t>(layer)];
  const Matrix normed = Rows(context.normed, rows.tokens, config.hidden_size);
  const Matrix keys = context.cache.Keys(layer, rows.position, rows.tokens);
  const Matrix values = context.cache.Values(layer, rows.position, rows.tokens);
  MatMul(normed, weights.q, biases.q, queries, context.pool);
  MatMul(normed, weights.k, biases.k, keys, context.pool);
  MatMul(normed, weights.v, biases.v, values, context.pool);
  if (!weights.q_norm.empty()) {
    RmsNormPerHead(queries, weights.q_norm, config.norm_eps, queries, context.pool);
    RmsNormPerHead(keys, weights.k_norm, config.norm_eps, keys, context.pool);
  }
  const int head_dim = config.attention.head_dim;
  Rope(queries, head_dim, context.inverse_frequencies, rows.position, context.pool);
  Rope(keys, head_dim, context.inverse_frequencies, rows.position, context.pool);
}

}  // namespace

LayerContext::LayerContext(const Model& the_model, ThreadPool& the_pool, KvCache& the_cache,
                           Observer* the_observer)
    : model(the_model),
      config(the_model.config),
      pool(the_pool),
      cache(the_cache),
      observer(the_observer),
      inverse_frequencies(RopeInverseFrequencies(config.attention.head_dim, config.rope.theta)) {
  for (const LayerWeights& layer : model.weights.layers) {
    const AttentionWeights& attention = layer.attention;
    biases.push_back({ToFloats(attention.q_bias), ToFloats(attention.k_bias),
                      ToFloats(attention.v_bias), ToFloats(attention.o_bias)});
  }
}

Matrix Rows(AlignedBuffer<float>& buffer, int64_t rows, int64_t columns) {
  buffer.EnsureSize(static_cast<size_t>(rows * columns));
  return {buffer.data(), rows, columns, columns};
}

void EmbedTokens(LayerContext& context, std::span<const int32_t> ids, ChunkRows& rows) {
  const CpuWork work(context.stages.embed_ms, context.timeline, rows.chunk, 0, "embedding");
  const int64_t columns = context.config.hidden_size;
  const Matrix hidden = Rows(rows.hidden, static_cast<int64_t>(ids.size()), columns);
  for (size_t t = 0; t < ids.size(); ++t) {
    ToF32(context.model.weights.embedding, ids[t] * columns,
          {hidden.Row(static_cast<int64_t>(t)), static_cast<size_t>(columns)});
  }
}

void RunAttention(LayerContext& context, int layer, ChunkRows& rows) {
  const CpuWork work(context.stages.attention_ms, context.timeline, rows.chunk, layer, "attention");
  const ModelConfig& config = context.config;
  const LayerWeights& weights = context.model.weights.layers[static_cast<size_t>(layer)];
  const Matrix hidden = Rows(rows.hidden, rows.tokens, config.hidden_size);
  const Matrix normed = Rows(context.normed, rows.tokens, config.hidden_size);
  const Matrix queries = Rows(context.queries, rows.tokens, config.attention.query_size());
  const Matrix attended = Rows(context.attended, rows.tokens, config.attention.query_size());
  const Matrix projected = Rows(context.projected, rows.tokens, config.hidden_size);
  RmsNorm(hidden, weights.attention_norm, config.norm_eps, normed, context.pool);
  ProjectQkv(context, layer, rows, queries);
  AttentionArgs args;
  args.num_heads = config.attention.num_heads;
  args.num_kv_heads = config.attention.num_kv_heads;
  args.head_dim = config.attention.head_dim;
  args.scale = 1.0f / std::sqrt(static_cast<float>(config.attention.head_dim));
  args.position = rows.position;
  args.queries = queries;
  args.keys = context.cache.Keys(layer, 0, rows.position + rows.tokens);
  args.values = context.cache.Values(layer, 0, rows.position + rows.tokens);
  args.out = attended;
  Attention(args, context.pool);
  MatMul(attended, weights.attention.o, context.biases[static_cast<size_t>(layer)].o, projected,
         context.pool);
  AddRows(projected, hidden, context.pool);
}

void NormForFfn(LayerContext& context, int layer, ChunkRows& rows) {
  const LayerWeights& weights = context.model.weights.layers[static_cast<size_t>(layer)];
  RmsNorm(Rows(rows.hidden, rows.tokens, context.config.hidden_size), weights.ffn_norm,
          context.config.norm_eps, Rows(rows.ffn_input, rows.tokens, context.config.hidden_size),
          context.pool);
}

void RunDenseFfn(LayerContext& context, int layer, ChunkRows& rows) {
  const CpuWork work(context.stages.dense_ms, context.timeline, rows.chunk, layer, "dense ffn");
  const FfnWeights& dense = context.model.weights.layers[static_cast<size_t>(layer)].dense;
  ExpertTask task;
  task.weights = {dense.gate, dense.up, dense.down};
  task.in = Rows(rows.ffn_input, rows.tokens, context.config.hidden_size);
  task.out = Rows(context.projected, rows.tokens, context.config.hidden_size);
  RunExperts({&task, 1}, context.pool);
  AddRows(task.out, Rows(rows.hidden, rows.tokens, context.config.hidden_size), context.pool);
}

void RunHead(LayerContext& context, ChunkRows& chunk, int64_t first, int64_t rows, float* logits) {
  const CpuWork work(context.stages.head_ms, context.timeline, chunk.chunk,
                     context.config.num_layers, "head");
  const int64_t columns = context.config.hidden_size;
  const Matrix hidden{chunk.hidden.data() + first * columns, rows, columns, columns};
  const Matrix normed = Rows(context.normed, rows, columns);
  RmsNorm(hidden, context.model.weights.final_norm, context.config.norm_eps, normed, context.pool);
  const int64_t vocab = context.config.vocab_size;
  MatMul(normed, context.model.weights.lm_head, {}, {logits, rows, vocab, vocab}, context.pool);
}

}  // namespace npumoe
