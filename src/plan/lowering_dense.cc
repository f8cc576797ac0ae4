// LowerAttention, LowerHead and LowerPlanned (lowering.h).
#include "base/check.h"
#include "base/dtype.h"
#include "graph/attention_program.h"
#include "graph/head_program.h"
#include "plan/attention_shape.h"
#include "plan/fp16_weights.h"
#include "plan/lowered_weights.h"
#include "plan/lowering.h"

namespace npumoe {
namespace {

// A vector that the model may lack: no bytes and no producer then.
Result<WeightData> LowerOptional(const TensorView& weights, const Shape& shape, std::string what) {
  if (weights.empty()) return WeightData{};
  return LowerVector(weights, shape, std::move(what));
}

// As the program will see them: rounded to fp16.
Result<std::vector<float>> SinksOf(const TensorView& sinks, const std::string& what) {
  if (sinks.empty()) return std::vector<float>();
  std::vector<uint16_t> fp16(static_cast<size_t>(sinks.shape.elements()));
  NPUMOE_RETURN_IF_ERROR(WriteAsFp16(sinks, what, std::as_writable_bytes(std::span(fp16))));
  std::vector<float> values;
  for (const uint16_t bits : fp16) values.push_back(F32FromF16(bits));
  return values;
}

int64_t NormChannels(const AttentionProgramShape& shape, int heads) {
  return shape.head_norm == HeadNorm::kPerHead ? shape.head_dim : heads * shape.head_dim;
}

Result<AttentionProgramWeights> LowerWeights(const AttentionProgramShape& shape,
                                             const AttentionWeights& weights,
                                             const std::string& place) {
  const int64_t queries = shape.num_heads * shape.head_dim;
  const int64_t keys = shape.num_kv_heads * shape.head_dim;
  const int64_t values = shape.num_kv_heads * shape.value_dim;
  const int64_t attended = shape.num_heads * shape.value_dim;
  AttentionProgramWeights lowered;
  const auto projection = [&](const TensorView& matrix, const TensorView& bias, int64_t out,
                              int64_t in, const char* name, WeightMatrix& to,
                              WeightData& bias_to) -> Status {
    NPUMOE_ASSIGN_OR_RETURN(to,
                            LowerMatrix(WeightFormat::kF16, matrix, Shape{out, in}, place + name));
    NPUMOE_ASSIGN_OR_RETURN(bias_to, LowerOptional(bias, Shape{out}, place + name + " bias"));
    return OkStatus();
  };
  NPUMOE_RETURN_IF_ERROR(projection(weights.q, weights.q_bias, queries, shape.hidden, "query",
                                    lowered.query, lowered.query_bias));
  NPUMOE_RETURN_IF_ERROR(projection(weights.k, weights.k_bias, keys, shape.hidden, "key",
                                    lowered.key, lowered.key_bias));
  NPUMOE_RETURN_IF_ERROR(projection(weights.v, weights.v_bias, values, shape.hidden, "value",
                                    lowered.value, lowered.value_bias));
  NPUMOE_RETURN_IF_ERROR(projection(weights.o, weights.o_bias, shape.hidden, attended, "output",
                                    lowered.output, lowered.output_bias));
  if (shape.head_norm != HeadNorm::kNone) {
    NPUMOE_ASSIGN_OR_RETURN(lowered.query_norm,
                            LowerVector(weights.q_norm, Shape{NormChannels(shape, shape.num_heads)},
                                        place + "query norm"));
    NPUMOE_ASSIGN_OR_RETURN(
        lowered.key_norm,
        LowerVector(weights.k_norm, Shape{NormChannels(shape, shape.num_kv_heads)},
                    place + "key norm"));
  }
  NPUMOE_ASSIGN_OR_RETURN(lowered.sinks, SinksOf(weights.sinks, place + "sinks"));
  return lowered;
}

// Rows [first, first + rows) of a matrix.
TensorView RowsOf(const TensorView& matrix, const HeadSlice& slice) {
  const int64_t columns = matrix.shape[1];
  return {matrix.dtype, Shape{slice.entries, columns},
          matrix.data + BytesOf(matrix.dtype, slice.first * columns)};
}

TensorView EntriesOf(const TensorView& vector, const HeadSlice& slice) {
  return {vector.dtype, Shape{slice.entries}, vector.data + BytesOf(vector.dtype, slice.first)};
}

Result<HeadWeights> LowerHeadWeights(const ModelWeights& weights, const HeadProgramShape& shape) {
  if (!(weights.lm_head.shape == Shape{shape.vocabulary, shape.hidden})) {
    return InvalidInput("head: has shape " + weights.lm_head.shape.ToString() +
                        ", the model's configuration says " +
                        Shape{shape.vocabulary, shape.hidden}.ToString());
  }
  HeadWeights lowered;
  for (const HeadSlice& slice : HeadSlices(shape)) {
    const std::string what = "head, entries from " + std::to_string(slice.first);
    NPUMOE_ASSIGN_OR_RETURN(WeightMatrix matrix,
                            LowerMatrix(WeightFormat::kF16, RowsOf(weights.lm_head, slice),
                                        Shape{slice.entries, shape.hidden}, what));
    lowered.slices.push_back(std::move(matrix));
    if (weights.lm_head_bias.empty()) continue;
    NPUMOE_ASSIGN_OR_RETURN(WeightData bias, LowerVector(EntriesOf(weights.lm_head_bias, slice),
                                                         Shape{slice.entries}, what + ", bias"));
    lowered.biases.push_back(std::move(bias));
  }
  return lowered;
}

// One graph per size, the largest first under the name "main".
template <class Build>
Result<std::vector<Graph>> LargestFirst(size_t sizes, const char* prefix, Build build) {
  std::vector<Graph> functions;
  NPUMOE_ASSIGN_OR_RETURN(Graph largest, build(sizes - 1, "main"));
  functions.push_back(std::move(largest));
  for (size_t i = 0; i + 1 < sizes; ++i) {
    NPUMOE_ASSIGN_OR_RETURN(Graph smaller, build(i, prefix + std::to_string(i)));
    functions.push_back(std::move(smaller));
  }
  return functions;
}

}  // namespace

Result<std::vector<Graph>> LowerAttention(const Plan& plan, const ModelConfig& config,
                                          const AttentionWeights& weights, int layer) {
  NPUMOE_RETURN_IF_ERROR(CheckAttentionFits(config));
  const AttentionProgramShape shape = AttentionShapeOf(config);
  NPUMOE_ASSIGN_OR_RETURN(
      const AttentionProgramWeights lowered,
      LowerWeights(shape, weights, "layer " + std::to_string(layer) + ", attention, "));
  const std::vector<int64_t>& histories = plan.attention.history_tokens;
  return LargestFirst(histories.size(), "history_", [&](size_t i, const std::string& name) {
    return BuildAttentionGraph(shape, lowered, {plan.chunk_tokens, histories[i]}, name);
  });
}

Result<std::vector<Graph>> LowerHead(const Plan& plan, const ModelConfig& config,
                                     const ModelWeights& weights) {
  HeadProgramShape shape{config.hidden_size, config.vocab_size, 1, plan.head.slice_entries};
  NPUMOE_ASSIGN_OR_RETURN(const HeadWeights lowered, LowerHeadWeights(weights, shape));
  const std::vector<int64_t>& rows = plan.head.rows;
  return LargestFirst(rows.size(), "rows_", [&](size_t i, const std::string& name) {
    shape.rows = rows[i];
    return BuildHeadGraph(shape, lowered, name);
  });
}

Result<std::vector<Graph>> LowerPlanned(const Plan& plan, const ModelConfig& config,
                                        const ModelWeights& weights, const ProgramId& id,
                                        Encoders* encoders) {
  const auto layer = static_cast<size_t>(id.layer);
  switch (id.kind) {
    case ProgramKind::kExperts:
      return LowerProgram(plan, {id.layer, {}}, ExpertProgramOf(plan, id),
                          weights.layers[layer].experts, encoders);
    case ProgramKind::kAttention:
      return LowerAttention(plan, config, weights.layers[layer].attention, id.layer);
    case ProgramKind::kHead:
      return LowerHead(plan, config, weights);
  }
  return InvalidInput("no such program");
}

}  // namespace npumoe
