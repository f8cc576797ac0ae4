// Routing: which experts the tokens of a chunk choose, and how much each counts. A shared expert is
// every token's last choice.
#pragma once

#include "runtime/moe_dispatch.h"

namespace npumoe {

enum class Phase { kPrefill, kDecode };

// Norm, router, choices, lists; tells the observer the routed choices. Fails where a logit of the
// router is not finite (finite_check.h): no choice could be made of it.
Status RouteTokens(LayerContext& context, int layer, Phase phase, ChunkRows& rows, MoeState& moe);

}  // namespace npumoe
