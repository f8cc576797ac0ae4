// Rules about the formats of weights.
#include <algorithm>

#include "graph/validator/rules.h"

namespace npumoe {
namespace {

// Bits of an index into a table of so many entries; 0 when that is no power of two.
int64_t IndexBits(int64_t entries) {
  int64_t bits = 0;
  while (bits < 62 && (int64_t{1} << bits) < entries) ++bits;
  return entries > 1 && (int64_t{1} << bits) == entries ? bits : 0;
}

// Tables [.., entries, vector] of constexpr_lut_to_dense.
int64_t TableEntries(const Shape& table) { return table.rank() < 2 ? 0 : table[table.rank() - 2]; }

}  // namespace

Findings FindBlockScales(const RuleInput& input) {
  Findings findings;
  if (!input.limits.refuses_block_scales) return findings;
  for (const Operation* operation : input.facts.OfType({"constexpr_blockwise_shift_scale"})) {
    const TensorSpec* scale = input.facts.SpecOf(*operation, "scale");
    if (scale == nullptr || scale->shape.rank() == 0) continue;
    const int64_t blocks = Shape(scale->shape.axes().subspan(1)).elements();
    if (blocks <= 1) continue;
    findings.push_back(Shown(*operation) + " with " + std::to_string(blocks) + " scales a channel");
  }
  return findings;
}

Findings FindInt8Activations(const RuleInput& input) {
  Findings findings;
  if (!input.limits.refuses_int8_activations) return findings;
  for (const Operation* operation : input.facts.OfType({"quantize"})) {
    if (input.facts.IsComputed(*operation, "input")) findings.push_back(Shown(*operation));
  }
  for (const ProductFacts& product : input.facts.products()) {
    const TensorSpec* x = input.facts.SpecOf(*product.operation, "x");
    if (x != nullptr && x->dtype == DType::kI8) findings.push_back(Shown(*product.operation));
  }
  return findings;
}

Findings FindOddTables(const RuleInput& input) {
  Findings findings;
  const std::vector<int64_t>& allowed = input.limits.table_bits;
  if (allowed.empty()) return findings;
  for (const Operation* operation : input.facts.OfType({"constexpr_lut_to_dense"})) {
    const TensorSpec* table = input.facts.SpecOf(*operation, "lut");
    if (table == nullptr) continue;
    const int64_t bits = IndexBits(TableEntries(table->shape));
    if (std::find(allowed.begin(), allowed.end(), bits) != allowed.end()) continue;
    findings.push_back(Shown(*operation) + " with tables of " +
                       std::to_string(TableEntries(table->shape)) + " entries");
  }
  return findings;
}

Findings FindSmallTableGroups(const RuleInput& input) {
  Findings findings;
  const int64_t least = input.limits.min_table_group;
  if (least == 0) return findings;
  for (const Operation* operation : input.facts.OfType({"constexpr_lut_to_dense"})) {
    const TensorSpec* indices = input.facts.SpecOf(*operation, "indices");
    const TensorSpec* table = input.facts.SpecOf(*operation, "lut");
    if (indices == nullptr || table == nullptr) continue;
    const int axes = std::min(indices->shape.rank(), table->shape.rank() - 2);
    for (int axis = 0; axis < axes; ++axis) {
      if (table->shape[axis] <= 1) continue;
      const int64_t group = indices->shape[axis] / table->shape[axis];
      if (group >= least) continue;
      findings.push_back(Shown(*operation) + " with a table for every " + std::to_string(group) +
                         " channels; at least " + std::to_string(least));
      break;
    }
  }
  return findings;
}

Findings FindTableStrides(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.max_table_stride;
  if (limit == 0) return findings;
  for (const ConvFacts& conv : input.facts.convs()) {
    if (conv.weight_op != "constexpr_lut_to_dense" || conv.strides.empty()) continue;
    const int64_t stride = *std::max_element(conv.strides.begin(), conv.strides.end());
    if (stride <= limit) continue;
    findings.push_back(Shown(*conv.operation) + " with stride " + std::to_string(stride) +
                       "; at most " + std::to_string(limit));
  }
  return findings;
}

Findings FindExpandedWeights(const RuleInput& input) {
  Findings findings;
  if (!input.limits.expands_int8) return findings;
  for (const Operation* operation : input.facts.OfType({"constexpr_blockwise_shift_scale"})) {
    findings.push_back(Shown(*operation));
  }
  return findings;
}

Findings FindLargeWeights(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.streamed_weight_bytes;
  if (limit == 0) return findings;
  for (const WeightFacts& weight : input.facts.weights()) {
    if (weight.bytes <= limit) continue;
    findings.push_back("weight '" + weight.name + "' with " + std::to_string(weight.bytes) +
                       " bytes");
  }
  return findings;
}

}  // namespace npumoe
