// Recount: the dispatch counts that a plan implies for a routing trace, by the planner's own
// function, to hold against what a run executed. Equal when nothing degraded.
#pragma once

#include <span>

#include "plan/simulator.h"

namespace npumoe {

// `chunks` as PrefillResult::chunks has them (token indices of the context), `sequence` of the
// trace being that context. Fails when the trace does not cover them or belongs to another plan.
Result<DispatchCounts> RecountDispatch(const Plan& plan, OverflowMode overflow,
                                       const RoutingTrace& trace, size_t sequence,
                                       std::span<const ChunkSpan> chunks);

}  // namespace npumoe
