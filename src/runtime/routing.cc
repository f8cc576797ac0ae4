#include "runtime/routing.h"

#include <cmath>

#include "kernels/activation/activation.h"
#include "kernels/gemm/gemm.h"
#include "kernels/router/router.h"
#include "runtime/finite_check.h"

namespace npumoe {
namespace {

RouterRule RuleOf(RoutingRule rule) {
  switch (rule) {
    case RoutingRule::kSoftmaxTopK:
      return RouterRule::kSoftmaxTopK;
    case RoutingRule::kTopKSoftmax:
      return RouterRule::kTopKSoftmax;
    case RoutingRule::kSparseMixer:
      return RouterRule::kSparseMixer;
    case RoutingRule::kGroupLimited:
      return RouterRule::kGroupLimited;
  }
  return RouterRule::kSoftmaxTopK;
}

// The routed choices, slots [0, k) of every token.
Status ChooseRouted(LayerContext& context, int layer, ChunkRows& rows, MoeState& moe) {
  const MoeConfig& config = context.config.moe;
  const Matrix logits = Rows(context.router_logits, rows.tokens, config.num_experts);
  MatMul(Rows(rows.ffn_input, rows.tokens, context.config.hidden_size),
         context.model.weights.layers[static_cast<size_t>(layer)].router,
         context.vectors.Layer(layer).router_bias, logits, context.pool);
  NPUMOE_RETURN_IF_ERROR(
      CheckFinite(context, logits, {FiniteValues::kRouterLogits, layer, rows.position}));
  RouterArgs args;
  args.rule = RuleOf(config.rule);
  args.k = config.experts_per_token;
  args.normalize = config.normalize_top_k;
  args.scale = config.weight_scale;
  args.jitter = config.sparse_mixer_jitter;
  args.num_groups = config.num_groups;
  args.groups_kept = config.groups_per_token;
  args.logits = logits;
  args.choices = config.choices_per_token();
  args.ids = moe.ids;
  args.weights = moe.weights;
  Route(args, context.pool);
  return OkStatus();
}

// The shared expert as the last choice of every token.
void ChooseShared(LayerContext& context, int layer, ChunkRows& rows, MoeState& moe) {
  const MoeConfig& config = context.config.moe;
  if (!config.has_shared_expert()) return;
  const TensorView& gate = context.model.weights.layers[static_cast<size_t>(layer)].shared_gate;
  const Matrix gates = Rows(context.shared_gates, rows.tokens, 1);
  if (config.shared_gate) {
    MatMul(Rows(rows.ffn_input, rows.tokens, context.config.hidden_size), gate, {}, gates,
           context.pool);
  }
  const auto choices = static_cast<size_t>(config.choices_per_token());
  for (size_t t = 0; t < static_cast<size_t>(rows.tokens); ++t) {
    const size_t last = (t + 1) * choices - 1;
    moe.ids[last] = config.num_experts;
    moe.weights[last] = config.shared_gate ? 1 / (1 + std::exp(-gates.data[t])) : 1;
  }
}

// `packed` [T, k] from `all` [T, choices].
template <class T>
std::span<const T> RoutedPart(const std::vector<T>& all, size_t choices, size_t k,
                              std::vector<T>& packed) {
  if (choices == k) return all;
  packed.clear();
  for (size_t first = 0; first < all.size(); first += choices) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
    packed.insert(packed.end(), begin, begin + static_cast<std::ptrdiff_t>(k));
  }
  return packed;
}

void TellRouting(LayerContext& context, int layer, Phase phase, const ChunkRows& rows,
                 MoeState& moe) {
  if (context.observer == nullptr) return;
  if (phase == Phase::kDecode && !context.observer->WantsDecode()) return;
  const int k = context.config.moe.experts_per_token;
  const auto choices = static_cast<size_t>(context.config.moe.choices_per_token());
  context.observer->OnRouting(
      {layer, rows.position, rows.tokens, k,
       RoutedPart(moe.ids, choices, static_cast<size_t>(k), moe.routed_ids),
       RoutedPart(moe.weights, choices, static_cast<size_t>(k), moe.routed_weights)});
}

}  // namespace

Status RouteTokens(LayerContext& context, int layer, Phase phase, ChunkRows& rows, MoeState& moe) {
  {
    const CpuWork work(context.stages.router_ms, context.timeline, rows.chunk, layer, "router");
    const MoeConfig& config = context.config.moe;
    NormForFfn(context, layer, rows);
    const auto assignments = static_cast<size_t>(rows.tokens * config.choices_per_token());
    moe.ids.resize(assignments);
    moe.weights.resize(assignments);
    NPUMOE_RETURN_IF_ERROR(ChooseRouted(context, layer, rows, moe));
    ChooseShared(context, layer, rows, moe);
    BuildExpertLists(moe.ids, config.choices_per_token(), config.expert_count(), moe.lists);
  }
  TellRouting(context, layer, phase, rows, moe);
  const float multiplier = context.config.residual_multiplier;
  if (multiplier != 1) Scale(multiplier, moe.weights);
  return OkStatus();
}

}  // namespace npumoe
