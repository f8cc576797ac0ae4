// Layer: what the CPU computes in every decoder layer outside the experts, for one chunk of rows,
// and the two ends of the model (embedding, head).
//   x += o( attention( rope(norm(q)), rope(norm(k)), v ) ) of norm(x);   x += ffn(norm(x))
// The residual stays fp32. MoE layers continue in moe_dispatch.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "kernels/matrix.h"
#include "model/model.h"
#include "runtime/kv_cache.h"
#include "runtime/observer.h"
#include "runtime/prefill_timeline.h"
#include "runtime/session.h"

namespace npumoe {

// Biases in fp32, as MatMul takes them; empty where the model has none.
struct LayerBiases {
  std::vector<float> q, k, v, o;
};

// What all steps of a session share. Buffers grow to the largest chunk and are reused, so that
// neither a layer nor a token allocates.
struct LayerContext {
  LayerContext(const Model& model, ThreadPool& pool, KvCache& cache, Observer* observer);

  const Model& model;
  const ModelConfig& config;
  ThreadPool& pool;
  KvCache& cache;
  Observer* observer;  // may be null
  std::vector<float> inverse_frequencies;
  std::vector<LayerBiases> biases;  // [layers]

  // Of the running prefill or decode:
  StageTimes stages;
  PrefillTimeline* timeline = nullptr;  // null in decode

  AlignedBuffer<float> normed;         // [T, hidden]
  AlignedBuffer<float> queries;        // [T, query_size]
  AlignedBuffer<float> attended;       // [T, query_size]
  AlignedBuffer<float> projected;      // [T, hidden]
  AlignedBuffer<float> router_logits;  // [T, experts]
  AlignedBuffer<float> expert_inputs;  // [assignments on the CPU, hidden]
};

// Rows that pass through the layers together.
struct ChunkRows {
  int chunk = 0;         // in this prefill
  int64_t position = 0;  // of the first row in the context
  int64_t tokens = 0;
  AlignedBuffer<float> hidden;     // [tokens, hidden]: the residual
  AlignedBuffer<float> ffn_input;  // [tokens, hidden]: normed, input of router and experts
};

Matrix Rows(AlignedBuffer<float>& buffer, int64_t rows, int64_t columns);

// hidden = embedding rows of `ids`, which must be in the vocabulary.
void EmbedTokens(LayerContext& context, std::span<const int32_t> ids, ChunkRows& rows);
// Norm, attention, residual; writes K and V at the rows' positions.
void RunAttention(LayerContext& context, int layer, ChunkRows& rows);
// ffn_input = norm(hidden)
void NormForFfn(LayerContext& context, int layer, ChunkRows& rows);
// hidden += ffn(ffn_input) of a dense layer.
void RunDenseFfn(LayerContext& context, int layer, ChunkRows& rows);
// logits [rows, vocab] of rows [first, first + rows) of the chunk.
void RunHead(LayerContext& context, ChunkRows& chunk, int64_t first, int64_t rows, float* logits);

}  // namespace npumoe
