#include "runtime/decode.h"

#include "runtime/attention.h"
#include "runtime/routing.h"

namespace npumoe {

Status DecodeToken(LayerContext& context, int32_t id, int64_t position, DecodeState& state) {
  context.timeline = nullptr;
  state.rows.position = position;
  state.rows.tokens = 1;
  EmbedTokens(context, {&id, 1}, state.rows);
  const bool watched = context.observer != nullptr && context.observer->WantsDecode();
  for (int layer = 0; layer < context.config.num_layers; ++layer) {
    RunAttention(context, layer, state.rows);
    if (context.config.is_moe_layer[static_cast<size_t>(layer)]) {
      NPUMOE_RETURN_IF_ERROR(RouteTokens(context, layer, Phase::kDecode, state.rows, state.moe));
      StartExperts(context, nullptr, layer, state.rows, state.moe);
      RunCpuExperts(context, layer, state.rows, state.moe);
      CombineExperts(context, nullptr, layer, state.rows, state.moe);
    } else {
      NormForFfn(context, layer, state.rows);
      RunDenseFfn(context, layer, state.rows);
    }
    if (watched && context.observer->WantsHidden()) {
      const auto size = static_cast<size_t>(context.config.hidden_size);
      context.observer->OnHidden({layer, position, 1, state.rows.hidden.span().first(size)});
    }
  }
  state.logits.resize(static_cast<size_t>(context.config.vocab_size));
  NPUMOE_RETURN_IF_ERROR(CheckResidual(context, state.rows));
  return RunHead(context, state.rows, 0, 1, state.logits.data());
}

}  // namespace npumoe
