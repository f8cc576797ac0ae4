// LowerAttention, LowerHead and LowerPlanned (lowering.h).
#include "graph/attention_program.h"
#include "graph/head_program.h"
#include "plan/attention_shape.h"
#include "plan/lowered_attention.h"
#include "plan/lowered_weights.h"
#include "plan/lowering.h"

namespace npumoe {
namespace {

TensorView EntriesOf(const TensorView& vector, const HeadSlice& slice) {
  return {vector.dtype, Shape{slice.entries}, vector.data + BytesOf(vector.dtype, slice.first)};
}

Result<HeadWeights> LowerHeadWeights(const ModelWeights& weights, const HeadProgramShape& shape,
                                     const DenseLowering& lowering) {
  if (!(weights.lm_head.shape == Shape{shape.vocabulary, shape.hidden})) {
    return InvalidInput("head: has shape " + weights.lm_head.shape.ToString() +
                        ", the model's configuration says " +
                        Shape{shape.vocabulary, shape.hidden}.ToString());
  }
  HeadWeights lowered;
  for (const HeadSlice& slice : HeadSlices(shape)) {
    const std::string what = "entries from " + std::to_string(slice.first);
    NPUMOE_ASSIGN_OR_RETURN(WeightMatrix matrix,
                            lowering.Matrix(RowsOf(weights.lm_head, slice.first, slice.entries),
                                            Shape{slice.entries, shape.hidden}, what));
    lowered.slices.push_back(std::move(matrix));
    if (weights.lm_head_bias.empty()) continue;
    NPUMOE_ASSIGN_OR_RETURN(
        WeightData bias, LowerVector(EntriesOf(weights.lm_head_bias, slice), Shape{slice.entries},
                                     lowering.place + what + ", bias"));
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
                                          const AttentionWeights& weights, int layer,
                                          Encoders* encoders) {
  NPUMOE_RETURN_IF_ERROR(CheckAttentionFits(config));
  const DenseLowering lowering{plan.dense_weight_format, encoders,
                               "layer " + std::to_string(layer) + ", attention, "};
  const std::vector<int64_t>& histories = plan.attention.history_tokens;
  const auto of_all_histories = [&](auto build_graph, const auto& shape, const auto& lowered) {
    return LargestFirst(histories.size(), "history_", [&](size_t i, const std::string& name) {
      return build_graph(shape, lowered, AttentionExtent{plan.chunk_tokens, histories[i]}, name);
    });
  };
  if (config.attention.latent) {
    const LatentProgramShape shape = LatentShapeOf(config);
    NPUMOE_ASSIGN_OR_RETURN(const LatentProgramWeights lowered,
                            LowerLatentWeights(shape, weights, lowering));
    return of_all_histories(BuildLatentAttentionGraph, shape, lowered);
  }
  const AttentionProgramShape shape = AttentionShapeOf(config);
  NPUMOE_ASSIGN_OR_RETURN(const AttentionProgramWeights lowered,
                          LowerAttentionWeights(shape, weights, lowering));
  return of_all_histories(BuildAttentionGraph, shape, lowered);
}

Result<std::vector<Graph>> LowerHead(const Plan& plan, const ModelConfig& config,
                                     const ModelWeights& weights, Encoders* encoders) {
  HeadProgramShape shape{config.hidden_size, config.vocab_size, 1, plan.head.slice_entries};
  NPUMOE_ASSIGN_OR_RETURN(
      const HeadWeights lowered,
      LowerHeadWeights(weights, shape, {plan.dense_weight_format, encoders, "head, "}));
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
      return LowerAttention(plan, config, weights.layers[layer].attention, id.layer, encoders);
    case ProgramKind::kHead:
      return LowerHead(plan, config, weights, encoders);
  }
  return InvalidInput("no such program");
}

}  // namespace npumoe
