// Layer: what every step of a session shares, and what the CPU computes in a decoder layer outside
// attention (attention.h) and experts, with the two ends of the model (embedding, head).
//   x += m * attention(norm(x));   x += m * ffn(norm(x))      m: residual multiplier, mostly 1
// The residual stays fp32. MoE layers continue in moe_dispatch.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "kernels/matrix.h"
#include "model/model.h"
#include "runtime/kv_cache.h"
#include "runtime/model_vectors.h"
#include "runtime/observer.h"
#include "runtime/prefill_timeline.h"
#include "runtime/rope_tables.h"
#include "runtime/session.h"

namespace npumoe {

// What all steps of a session share. Buffers grow to the largest chunk and are reused, so that
// neither a layer nor a token allocates.
struct LayerContext {
  LayerContext(const Model& model, ThreadPool& pool, KvCache& cache, Observer* observer);

  const Model& model;
  const ModelConfig& config;
  ThreadPool& pool;
  KvCache& cache;
  Observer* observer;  // may be null
  ModelVectors vectors;
  RopeTables ropes;
  RopeLength rope_length = RopeLength::kShort;  // of the running prefill or decode

  // Of the running prefill or decode:
  StageTimes stages;
  int64_t dense_launches = 0;           // of attention and head programs, that succeeded
  PrefillTimeline* timeline = nullptr;  // null in decode

  AlignedBuffer<float> normed;         // [T, hidden]
  AlignedBuffer<float> queries;        // [T, query_size]
  AlignedBuffer<float> attended;       // [T, output_size]
  AlignedBuffer<float> projected;      // [T, hidden]
  AlignedBuffer<float> router_logits;  // [T, routed experts]
  AlignedBuffer<float> shared_gates;   // [T, 1]
  AlignedBuffer<float> expert_inputs;  // [assignments on the CPU, hidden]
  // Latent attention:
  AlignedBuffer<float> low_rank_queries;  // [T, q_lora_rank]
  AlignedBuffer<float> expanded_keys;     // [context, heads at once * head_dim]
  AlignedBuffer<float> expanded_values;   // [context, heads at once * value_head_dim]
  AlignedBuffer<float> absorbed_queries;  // [heads, cache_size]
  AlignedBuffer<float> mixed_latents;     // [heads, kv_lora_rank]
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

// The model's kind of norm; RMS norms have no bias.
struct NormWeights {
  const TensorView& weight;
  const TensorView& bias;
};
void NormRows(LayerContext& context, ConstMatrix in, const NormWeights& norm, Matrix out);
// hidden += residual multiplier * other
void AddToResidual(LayerContext& context, ConstMatrix other, Matrix hidden);

// hidden = embedding rows of `ids` (times the model's multiplier), which must be in the vocabulary.
void EmbedTokens(LayerContext& context, std::span<const int32_t> ids, ChunkRows& rows);
// ffn_input = norm(hidden)
void NormForFfn(LayerContext& context, int layer, ChunkRows& rows);
// hidden += ffn(ffn_input) of a dense layer, as AddToResidual does.
void RunDenseFfn(LayerContext& context, int layer, ChunkRows& rows);
// After the last layer: fails where the residual of any row is not finite (finite_check.h).
Status CheckResidual(LayerContext& context, ChunkRows& chunk);
// The head in three steps: norm(hidden) of rows [first, first + rows) of the chunk, in
// context.normed; their logits [rows, vocab]; the model's divisor, and an error where one is not
// finite.
ConstMatrix NormForHead(LayerContext& context, ChunkRows& chunk, int64_t first, int64_t rows);
void MultiplyByHead(LayerContext& context, const ChunkRows& chunk, ConstMatrix normed,
                    Matrix logits);
Status FinishLogits(LayerContext& context, const ChunkRows& chunk, int64_t first, Matrix logits);
// All three, on the CPU.
Status RunHead(LayerContext& context, ChunkRows& chunk, int64_t first, int64_t rows, float* logits);

}  // namespace npumoe
