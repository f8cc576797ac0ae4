#include "runtime/layer.h"

#include "kernels/activation/activation.h"
#include "kernels/convert/convert.h"
#include "kernels/expert/expert.h"
#include "kernels/gemm/gemm.h"
#include "kernels/norm/layer_norm.h"
#include "kernels/norm/rms_norm.h"
#include "runtime/finite_check.h"

namespace npumoe {

LayerContext::LayerContext(const Model& the_model, ThreadPool& the_pool, KvCache& the_cache,
                           Observer* the_observer)
    : model(the_model),
      config(the_model.config),
      pool(the_pool),
      cache(the_cache),
      observer(the_observer),
      vectors(the_model.weights),
      ropes(the_model.config) {}

Matrix Rows(AlignedBuffer<float>& buffer, int64_t rows, int64_t columns) {
  buffer.EnsureSize(static_cast<size_t>(rows * columns));
  return {buffer.data(), rows, columns, columns};
}

void NormRows(LayerContext& context, ConstMatrix in, const NormWeights& norm, Matrix out) {
  const float eps = context.config.norm_eps;
  switch (context.config.norm) {
    case NormKind::kRms:
      RmsNorm(in, norm.weight, eps, out, context.pool);
      return;
    case NormKind::kLayer:
      LayerNorm(in, norm.weight, norm.bias, eps, out, context.pool);
      return;
  }
}

void AddToResidual(LayerContext& context, ConstMatrix other, Matrix hidden) {
  const float multiplier = context.config.residual_multiplier;
  context.pool.ParallelRanges(hidden.rows, 1, [&](int64_t begin, int64_t end, int) {
    const auto count = static_cast<size_t>((end - begin) * hidden.columns);
    const std::span<const float> from(other.Row(begin), count);
    const std::span<float> to(hidden.Row(begin), count);
    if (multiplier == 1) {
      AddTo(from, to);
    } else {
      AddScaled(multiplier, from, to);
    }
  });
}

void EmbedTokens(LayerContext& context, std::span<const int32_t> ids, ChunkRows& rows) {
  const CpuWork work(context.stages.embed_ms, context.timeline, rows.chunk, 0, "embedding");
  const int64_t columns = context.config.hidden_size;
  const float multiplier = context.config.embedding_multiplier;
  const Matrix hidden = Rows(rows.hidden, static_cast<int64_t>(ids.size()), columns);
  for (size_t t = 0; t < ids.size(); ++t) {
    const std::span<float> row(hidden.Row(static_cast<int64_t>(t)), static_cast<size_t>(columns));
    ToF32(context.model.weights.embedding, ids[t] * columns, row);
    if (multiplier != 1) Scale(multiplier, row);
  }
}

void NormForFfn(LayerContext& context, int layer, ChunkRows& rows) {
  const LayerWeights& weights = context.model.weights.layers[static_cast<size_t>(layer)];
  const int64_t columns = context.config.hidden_size;
  NormRows(context, Rows(rows.hidden, rows.tokens, columns),
           {weights.ffn_norm, weights.ffn_norm_bias}, Rows(rows.ffn_input, rows.tokens, columns));
}

void RunDenseFfn(LayerContext& context, int layer, ChunkRows& rows) {
  const CpuWork work(context.stages.dense_ms, context.timeline, rows.chunk, layer, "dense ffn");
  const FfnWeights& dense = context.model.weights.layers[static_cast<size_t>(layer)].dense;
  ExpertTask task;
  task.weights = WeightsForKernel(context.config, dense, context.vectors.Layer(layer).dense);
  task.in = Rows(rows.ffn_input, rows.tokens, context.config.hidden_size);
  task.out = Rows(context.projected, rows.tokens, context.config.hidden_size);
  RunExperts({&task, 1}, context.pool);
  AddToResidual(context, task.out, Rows(rows.hidden, rows.tokens, context.config.hidden_size));
}

Status CheckResidual(LayerContext& context, ChunkRows& chunk) {
  const CpuWork work(context.stages.head_ms, context.timeline, chunk.chunk,
                     context.config.num_layers, "finite check");
  return CheckFinite(context, Rows(chunk.hidden, chunk.tokens, context.config.hidden_size),
                     {FiniteValues::kResidual, context.config.num_layers - 1, chunk.position});
}

namespace {

CpuWork HeadWork(LayerContext& context, const ChunkRows& chunk) {
  return {context.stages.head_ms, context.timeline, chunk.chunk, context.config.num_layers, "head"};
}

}  // namespace

ConstMatrix NormForHead(LayerContext& context, ChunkRows& chunk, int64_t first, int64_t rows) {
  const CpuWork work = HeadWork(context, chunk);
  const ModelWeights& weights = context.model.weights;
  const int64_t columns = context.config.hidden_size;
  const Matrix hidden{chunk.hidden.data() + first * columns, rows, columns, columns};
  const Matrix normed = Rows(context.normed, rows, columns);
  NormRows(context, hidden, {weights.final_norm, weights.final_norm_bias}, normed);
  return normed;
}

void MultiplyByHead(LayerContext& context, const ChunkRows& chunk, ConstMatrix normed,
                    Matrix logits) {
  const CpuWork work = HeadWork(context, chunk);
  MatMul(normed, context.model.weights.lm_head, context.vectors.lm_head_bias(), logits,
         context.pool);
}

Status FinishLogits(LayerContext& context, const ChunkRows& chunk, int64_t first, Matrix logits) {
  const CpuWork work = HeadWork(context, chunk);
  const float divisor = context.config.logits_divisor;
  if (divisor != 1) {
    Scale(1 / divisor, {logits.data, static_cast<size_t>(logits.rows * logits.columns)});
  }
  return CheckFinite(
      context, logits,
      {FiniteValues::kLogits, context.config.num_layers - 1, chunk.position + first});
}

Status RunHead(LayerContext& context, ChunkRows& chunk, int64_t first, int64_t rows,
               float* logits) {
  const int64_t vocab = context.config.vocab_size;
  const Matrix out{logits, rows, vocab, vocab};
  MultiplyByHead(context, chunk, NormForHead(context, chunk, first, rows), out);
  return FinishLogits(context, chunk, first, out);
}

}  // namespace npumoe
