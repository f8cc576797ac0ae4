#include "runtime/npu_attention.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/dtype.h"
#include "plan/attention_shape.h"
#include "runtime/attention.h"
#include "runtime/dense_checks.h"

namespace npumoe {
namespace {

// cos and sin times the model's factor, for both halves of the rotated channels.
void FillTables(const LayerContext& context, int64_t position, int64_t chunk_tokens,
                AttentionState& state) {
  if (state.tables_position == position && state.tables_length == context.rope_length) return;
  const RopeTable& table = context.ropes.Of(context.rope_length);
  const size_t half = table.inverse_frequencies.size();
  const auto columns = static_cast<size_t>(chunk_tokens);
  state.cos.resize(2 * half * columns);
  state.sin.resize(2 * half * columns);
  for (size_t i = 0; i < half; ++i) {
    for (size_t t = 0; t < columns; ++t) {
      const float angle =
          static_cast<float>(position + static_cast<int64_t>(t)) * table.inverse_frequencies[i];
      state.cos[i * columns + t] = F16FromF32(table.scale * std::cos(angle));
      state.sin[i * columns + t] = F16FromF32(table.scale * std::sin(angle));
    }
  }
  const auto middle = static_cast<std::ptrdiff_t>(half * columns);
  std::copy_n(state.cos.begin(), middle, state.cos.begin() + middle);
  std::copy_n(state.sin.begin(), middle, state.sin.begin() + middle);
  state.tables_position = position;
  state.tables_length = context.rope_length;
}

// What the cache holds of `count` tokens from `position` on: keys and values, or latents.
std::vector<Matrix> CachedRows(LayerContext& context, int layer, int64_t position, int64_t count) {
  const Matrix keys = context.cache.Keys(layer, position, count);
  if (context.config.attention.latent) return {keys};
  return {keys, context.cache.Values(layer, position, count)};
}

void Feed(LayerContext& context, int layer, ChunkRows& rows, AttentionState& state) {
  const CpuWork work(context.stages.attention_ms, context.timeline, rows.chunk, layer,
                     "attention input");
  const ModelConfig& config = context.config;
  const LayerWeights& weights = context.model.weights.layers[static_cast<size_t>(layer)];
  const Matrix normed = Rows(context.normed, rows.tokens, config.hidden_size);
  NormRows(context, Rows(rows.hidden, rows.tokens, config.hidden_size),
           {weights.attention_norm, weights.attention_norm_bias}, normed);
  FillTables(context, rows.position, state.function->chunk_tokens(), state);
  const int64_t history = HistoryTokens(config, layer, rows.position);
  const AttentionSpan span{rows.position, rows.tokens, history, config.attention.WindowOf(layer)};
  state.function->Feed(span, normed, CachedRows(context, layer, rows.position - history, history),
                       {state.cos, state.sin}, state.launch.inputs, context.pool);
}

void Submit(LayerContext& context, NpuLaunches& launches, int layer, ChunkRows& rows,
            AttentionState& state) {
  Launch& launch = state.launch;
  launch.function = &state.function->loaded();
  launch.chunk = rows.chunk;
  launch.capacity_rows = state.function->chunk_tokens();
  launch.filled_rows = rows.tokens;
  launch.state = Launch::State::kGathered;
  if (!launches.AcquireBuffers(launch)) return;
  Feed(context, layer, rows, state);
  launches.Submit(launch, *context.timeline);
}

// What failed is computed by the CPU, as if nothing had been launched.
void AttendOnCpu(LayerContext& context, NpuLaunches& launches, int layer, ChunkRows& rows,
                 AttentionState& state) {
  launches.AddDegradedRows(state.launch.function->id, rows.tokens);
  launches.Release(state.launch);
  state.function = nullptr;
  RunAttention(context, layer, rows);
}

// to[t] += weight * row(t)
void AddRows(std::span<const OutputRow> rows, float weight, Matrix to, ThreadPool& pool) {
  const std::vector<float> weights(rows.size(), weight);
  CombineRows(rows, weights, 1, to, pool);
}

template <class RowOf>
std::vector<OutputRow> AllRows(int64_t count, RowOf row_of) {
  std::vector<OutputRow> rows;
  for (int64_t r = 0; r < count; ++r) rows.push_back(row_of(r));
  return rows;
}

template <class RowOf>
void Store(int64_t count, RowOf row_of, Matrix cache, ThreadPool& pool) {
  for (int64_t r = 0; r < count; ++r) std::fill_n(cache.Row(r), cache.columns, 0.0f);
  AddRows(AllRows(count, row_of), 1, cache, pool);
}

void StoreInCache(LayerContext& context, int layer, const ChunkRows& rows,
                  const AttentionState& state) {
  const std::vector<Matrix> cached = CachedRows(context, layer, rows.position, rows.tokens);
  for (size_t part = 0; part < cached.size(); ++part) {
    const auto row_of = [&](int64_t r) {
      return state.function->NewCached(part, r, state.launch.outputs);
    };
    Store(rows.tokens, row_of, cached[part], context.pool);
  }
}

// What the chunk adds to the cache is there.
void CheckRowsOnCpu(LayerContext& context, NpuExecutor& npu, int layer, ChunkRows& rows,
                    AttentionState& state) {
  NpuLaunches& launches = npu.launches();
  const NpuLaunches::Checks checks = launches.NextChecks(state.launch);
  std::mt19937_64 random(checks.seed);
  for (int i = 0; i < checks.rows; ++i) {
    const int64_t r =
        checks.every_row ? i : static_cast<int64_t>(random() % static_cast<uint64_t>(rows.tokens));
    const RowVerdict verdict = CheckAttentionRow(context, npu.plan(), layer, rows, r,
                                                 *state.function, state.launch.outputs);
    const RowsChecked& error = verdict.error;
    launches.AddChecks(state.launch, {1, error.relative, error.root_mean_square});
    if (verdict.is_right) continue;
    launches.RejectNumbers(state.launch, error.relative);
    return;
  }
}

void Take(LayerContext& context, NpuExecutor& npu, int layer, ChunkRows& rows,
          AttentionState& state) {
  NpuLaunches& launches = npu.launches();
  const CpuWork work(context.stages.attention_ms, context.timeline, rows.chunk, layer,
                     "attention output");
  const AttentionFunction& function = *state.function;
  if (!function.IsFinite(rows.tokens, state.launch.outputs)) {
    launches.RejectOutput(state.launch);
    return;
  }
  if (launches.RejectIfDistrusted(state.launch)) return;
  StoreInCache(context, layer, rows, state);
  CheckRowsOnCpu(context, npu, layer, rows, state);
  if (state.launch.state != Launch::State::kDone) return;
  const auto attended =
      AllRows(rows.tokens, [&](int64_t r) { return function.Attended(r, state.launch.outputs); });
  AddRows(attended, context.config.residual_multiplier,
          Rows(rows.hidden, rows.tokens, context.config.hidden_size), context.pool);
}

}  // namespace

void StartAttention(LayerContext& context, NpuExecutor* npu, int layer, ChunkRows& rows,
                    AttentionState& state) {
  const int64_t history = HistoryTokens(context.config, layer, rows.position);
  state.function = npu == nullptr ? nullptr : npu->AttentionFor(layer, history, rows.tokens);
  if (state.function == nullptr) {
    RunAttention(context, layer, rows);
    return;
  }
  Submit(context, npu->launches(), layer, rows, state);
  if (state.launch.state == Launch::State::kFailed) {
    AttendOnCpu(context, npu->launches(), layer, rows, state);
  }
}

bool AttentionDone(LayerContext& context, NpuExecutor* npu, const AttentionState& state) {
  return state.function == nullptr || npu->launches().IsOver(state.launch, *context.timeline);
}

void FinishAttention(LayerContext& context, NpuExecutor* npu, int layer, ChunkRows& rows,
                     AttentionState& state) {
  if (state.function == nullptr) return;
  NpuLaunches& launches = npu->launches();
  launches.Await(state.launch, *context.timeline);
  if (state.launch.state == Launch::State::kDone) {
    context.timeline->WaitUntil(state.launch.end_ms);
    Take(context, *npu, layer, rows, state);
  }
  if (state.launch.state == Launch::State::kFailed) {
    AttendOnCpu(context, launches, layer, rows, state);
    return;
  }
  launches.Accept(state.launch);
  launches.Release(state.launch);
  state.function = nullptr;
  ++context.dense_launches;
}

}  // namespace npumoe
