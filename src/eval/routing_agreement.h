// Routing agreement: in how many router decisions two runs over the same tokens differ. A decision
// is the set of experts that one token chooses in one layer; their order and weights do not count.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "runtime/trace_recorder.h"

namespace npumoe {

struct RoutingAgreement {
  int64_t decisions = 0;
  int64_t different = 0;

  bool operator==(const RoutingAgreement&) const = default;
};

// Fails for traces of different models, or of different lengths.
Result<RoutingAgreement> CompareRouting(const RoutingTrace& reference,
                                        const RoutingTrace& candidate);

}  // namespace npumoe
