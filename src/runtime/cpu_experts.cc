#include "runtime/cpu_experts.h"

namespace npumoe {
namespace {

// The inputs of all shares, one after the other. A single token needs no copies: every expert
// reads the same row.
ConstMatrix GatherInputs(LayerContext& context, int layer, ChunkRows& rows, MoeState& moe) {
  const int64_t columns = context.config.hidden_size;
  const Matrix hidden = Rows(rows.ffn_input, rows.tokens, columns);
  if (rows.tokens == 1) return hidden;
  const CpuWork work(context.stages.gather_ms, context.timeline, rows.chunk, layer, "gather");
  moe.gathered.clear();
  for (const CpuShare& share : moe.cpu_shares) {
    moe.gathered.insert(moe.gathered.end(), share.assignments.begin(), share.assignments.end());
  }
  const Matrix inputs =
      Rows(context.expert_inputs, static_cast<int64_t>(moe.gathered.size()), columns);
  GatherRows(hidden, moe.gathered, context.config.moe.choices_per_token(), inputs, context.pool);
  return inputs;
}

void BuildTasks(const LayerContext& context, int layer, ConstMatrix inputs, Matrix results,
                MoeState& moe) {
  const auto& experts = context.model.weights.layers[static_cast<size_t>(layer)].experts;
  const std::vector<FfnBiases>& biases = context.vectors.Layer(layer).experts;
  moe.tasks.clear();
  int64_t row = 0;
  for (const CpuShare& share : moe.cpu_shares) {
    const auto expert = static_cast<size_t>(share.expert);
    const auto count = static_cast<int64_t>(share.assignments.size());
    ExpertTask task;
    task.weights = WeightsForKernel(context.config, experts[expert], biases[expert]);
    task.in = {inputs.rows == 1 ? inputs.data : inputs.Row(row), count, inputs.columns,
               inputs.stride};
    task.out = {results.Row(row), count, results.columns, results.stride};
    moe.tasks.push_back(task);
    for (const int32_t assignment : share.assignments) {
      moe.outputs[static_cast<size_t>(assignment)] = {results.Row(row++), 1,
                                                      OutputRow::Layout::kF32Row};
    }
  }
}

void WatchActivations(MoeState& moe) {
  moe.maxima.assign(moe.tasks.size(), ExpertMaxima{});
  for (size_t i = 0; i < moe.tasks.size(); ++i) {
    moe.tasks[i].inner_max = &moe.maxima[i].inner;
    moe.tasks[i].output_max = &moe.maxima[i].output;
  }
}

}  // namespace

void RunShares(LayerContext& context, int layer, ChunkRows& rows, AlignedBuffer<float>& results,
               MoeState& moe) {
  if (moe.cpu_shares.empty()) return;
  int64_t count = 0;
  for (const CpuShare& share : moe.cpu_shares) {
    count += static_cast<int64_t>(share.assignments.size());
  }
  const ConstMatrix inputs = GatherInputs(context, layer, rows, moe);
  const bool watched = context.observer != nullptr && context.observer->WantsActivations();
  {
    const CpuWork work(context.stages.experts_ms, context.timeline, rows.chunk, layer,
                       "cpu experts");
    BuildTasks(context, layer, inputs, Rows(results, count, context.config.hidden_size), moe);
    if (watched) WatchActivations(moe);
    RunExperts(moe.tasks, context.pool);
  }
  if (!watched) return;
  for (size_t i = 0; i < moe.tasks.size(); ++i) {
    context.observer->OnActivation(
        {layer, moe.cpu_shares[i].expert, moe.maxima[i].inner, moe.maxima[i].output});
  }
}

}  // namespace npumoe
