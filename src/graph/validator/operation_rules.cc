// Rules about operations other than products.
#include <algorithm>

#include "graph/shape_inference.h"
#include "graph/validator/rules.h"

namespace npumoe {

Findings FindUnknownOperations(const RuleInput& input) {
  Findings findings;
  for (const Operation& operation : input.facts.graph().operations) {
    if (FindOperationSchema(operation.type) == nullptr) findings.push_back(Shown(operation));
  }
  return findings;
}

Findings FindRefusedOperations(const RuleInput& input) {
  Findings findings;
  const auto& refused = input.limits.refused_ops;
  for (const Operation& operation : input.facts.graph().operations) {
    if (std::find(refused.begin(), refused.end(), operation.type) != refused.end()) {
      findings.push_back(Shown(operation));
    }
  }
  return findings;
}

Findings FindState(const RuleInput& input) {
  Findings findings;
  if (!input.limits.refuses_state) return findings;
  for (const Operation* operation :
       input.facts.OfType({"read_state", "write_state", "coreml_update_state"})) {
    findings.push_back(Shown(*operation));
  }
  return findings;
}

Findings FindRunTimeSlices(const RuleInput& input) {
  Findings findings;
  if (!input.limits.refuses_run_time_slices) return findings;
  for (const Operation* operation :
       input.facts.OfType({"slice_by_index", "slice_by_size", "slice_update"})) {
    for (const char* parameter : {"begin", "end", "size"}) {
      if (!input.facts.IsComputed(*operation, parameter)) continue;
      findings.push_back(Shown(*operation) + " computes its " + parameter);
    }
  }
  return findings;
}

Findings FindLongArgReductions(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.max_arg_reduce;
  if (limit == 0) return findings;
  for (const Operation* operation : input.facts.OfType({"reduce_argmax", "reduce_argmin"})) {
    const TensorSpec* x = input.facts.SpecOf(*operation, "x");
    const std::vector<int64_t> axes = input.facts.IntsOf(*operation, "axis");
    if (x == nullptr || x->shape.rank() == 0) continue;
    const int rank = x->shape.rank();
    const int64_t axis = axes.empty() ? -1 : axes.front();
    if (axis < -rank || axis >= rank) continue;
    const int64_t length = x->shape[static_cast<int>(axis < 0 ? axis + rank : axis)];
    if (length <= limit) continue;
    findings.push_back(Shown(*operation) + " over " + std::to_string(length) + "; at most " +
                       std::to_string(limit));
  }
  return findings;
}

Findings FindFusedAttention(const RuleInput& input) {
  Findings findings;
  if (!input.limits.prefers_convolutions) return findings;
  for (const Operation* operation : input.facts.OfType({"scaled_dot_product_attention"})) {
    findings.push_back(Shown(*operation));
  }
  return findings;
}

Findings FindLayerNorms(const RuleInput& input) {
  Findings findings;
  if (!input.limits.prefers_convolutions) return findings;
  for (const Operation* operation : input.facts.OfType({"layer_norm"})) {
    findings.push_back(Shown(*operation));
  }
  return findings;
}

Findings FindManyBranches(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.branches;
  if (limit == 0) return findings;
  for (const Operation& operation : input.facts.graph().operations) {
    const std::vector<std::string>* values = operation.Bound("values");
    if (values == nullptr || static_cast<int64_t>(values->size()) < limit) continue;
    findings.push_back(Shown(operation) + " joins " + std::to_string(values->size()) + " branches");
  }
  return findings;
}

Findings FindOffsetSlices(const RuleInput& input) {
  Findings findings;
  if (!input.limits.clamps_slices) return findings;
  for (const Operation* operation : input.facts.OfType({"slice_by_index", "slice_by_size"})) {
    const std::vector<int64_t> begin = input.facts.IntsOf(*operation, "begin");
    const Constant* masks = input.facts.ConstantOf(*operation, "begin_mask");
    const auto* flags = masks == nullptr ? nullptr : std::get_if<std::vector<bool>>(&masks->value);
    const bool from_start = flags != nullptr && !flags->empty() && flags->back();
    if (begin.empty() || begin.back() == 0 || from_start) continue;
    findings.push_back(Shown(*operation) + " begins at " + std::to_string(begin.back()));
  }
  return findings;
}

}  // namespace npumoe
