// Routing agreement: in how many router decisions two runs over the same tokens differ. A decision
// is what one token chooses in one layer: its set of experts (their order does not count), and how
// they are weighed, since SparseMixer also decides which other experts a weight is measured
// against: a decision that moves a weight by a jump.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "eval/kl.h"
#include "runtime/trace_recorder.h"

namespace npumoe {

// Chosen: fp16 moves a weight by about 1e-3, one expert more or less in a softmax over a few that
// are nearly equal by 1/30 and more.
inline constexpr float kWeightJump = 0.02f;

struct RoutingAgreement {
  int64_t decisions = 0;
  int64_t different = 0;
  std::vector<bool> token_differs;  // [tokens]: in any layer
};

// Fails for traces of different models, or of different lengths.
Result<RoutingAgreement> CompareRouting(const RoutingTrace& reference,
                                        const RoutingTrace& candidate);

// Mean of the rows' KL over the tokens that decide alike in every layer; 0 where none does. The
// rows must be those of the traces.
double MeanKlOfSameRouting(const ComparisonResult& comparison, const RoutingAgreement& agreement);

}  // namespace npumoe
