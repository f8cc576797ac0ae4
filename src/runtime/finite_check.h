// FiniteCheck: NaN and infinity end a run instead of becoming an answer. Looked at are the logits
// of every router, the residual after the last layer and the logits: few numbers, through which
// everything that reaches an answer passes. Weights that no token meets are not looked at.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "kernels/matrix.h"
#include "runtime/layer.h"

namespace npumoe {

enum class FiniteValues : uint8_t { kRouterLogits, kResidual, kLogits };

// Where `values` stand: in which layer (the last one for residual and logits), and the position of
// their first row in the context.
struct FinitePlace {
  FiniteValues what = FiniteValues::kLogits;
  int layer = 0;
  int64_t position = 0;
};

// `values` without gaps between rows. An error names model, layer, values, token, and the first
// weight up to there that is NaN or infinite: only then are the weights searched.
Status CheckFinite(LayerContext& context, ConstMatrix values, const FinitePlace& place);

}  // namespace npumoe
