// Rules about the shapes of tensors.
#include <algorithm>
#include <set>

#include "graph/validator/rules.h"

namespace npumoe {
namespace {

// Parts of compressed weights have shapes of their own, which no operation sees.
std::vector<const TensorSpec*> PlainConstants(const GraphFacts& facts) {
  std::set<std::string_view> parts;
  for (const Operation& operation : facts.graph().operations) {
    if (!operation.type.starts_with("constexpr_")) continue;
    for (const auto& [parameter, values] : operation.inputs) {
      parts.insert(values.begin(), values.end());
    }
  }
  std::vector<const TensorSpec*> constants;
  for (const auto& [name, constant] : facts.graph().constants) {
    if (!parts.contains(name)) constants.push_back(&constant.spec);
  }
  for (const Operation& operation : facts.graph().operations) {
    if (!operation.type.starts_with("constexpr_")) continue;
    for (const TensorSpec& output : operation.outputs) constants.push_back(&output);
  }
  return constants;
}

std::string AtMost(const TensorSpec& spec, const char* what, int64_t limit) {
  return Shown(spec) + "; " + what + " at most " + std::to_string(limit);
}

int64_t LastAxis(const TensorSpec& spec) {
  const int rank = spec.shape.rank();
  return rank == 0 ? 0 : spec.shape[rank - 1];
}

// The axis that many places before the end; 1 when there is none.
int64_t FromEnd(const Shape& shape, int places) {
  return shape.rank() >= places ? shape[shape.rank() - places] : 1;
}

}  // namespace

Findings FindHighRanks(const RuleInput& input) {
  Findings findings;
  const auto check = [&](const TensorSpec& spec) {
    if (spec.shape.rank() <= input.limits.max_rank) return;
    findings.push_back(AtMost(spec, "the rank is", input.limits.max_rank));
  };
  for (const TensorSpec* spec : input.facts.activations()) check(*spec);
  for (const TensorSpec* spec : PlainConstants(input.facts)) check(*spec);
  return findings;
}

Findings FindLongAxes(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.max_axis;
  for (const TensorSpec* spec : input.facts.activations()) {
    if (std::max(FromEnd(spec->shape, 1), FromEnd(spec->shape, 2)) <= limit) continue;
    findings.push_back(AtMost(*spec, "height and width are", limit));
  }
  for (const TensorSpec* spec : PlainConstants(input.facts)) {
    // Of rank 2: a matrix; above: behind the two channel axes.
    const auto axes = spec->shape.axes();
    const auto spatial = axes.subspan(axes.size() == 2 ? 0 : std::min<size_t>(axes.size(), 2));
    if (std::all_of(spatial.begin(), spatial.end(), [&](int64_t n) { return n <= limit; }))
      continue;
    findings.push_back(AtMost(*spec, "height and width are", limit));
  }
  return findings;
}

Findings FindManyChannels(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.max_channels;
  for (const TensorSpec* spec : input.facts.activations()) {
    if (FromEnd(spec->shape, 3) <= limit) continue;
    findings.push_back(AtMost(*spec, "channels are", limit));
  }
  for (const TensorSpec* spec : PlainConstants(input.facts)) {
    const int rank = spec->shape.rank();
    const bool in_channels = rank > 2 && spec->shape[1] > limit;
    if (rank == 0 || rank == 2 || (spec->shape[0] <= limit && !in_channels)) continue;
    findings.push_back(AtMost(*spec, "channels are", limit));
  }
  return findings;
}

Findings FindLargeBatches(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.max_batch;
  if (limit == 0) return findings;
  for (const TensorSpec* spec : input.facts.activations()) {
    int64_t largest = 1;
    for (int axis = 0; axis + 3 < spec->shape.rank(); ++axis) {
      largest = std::max(largest, spec->shape[axis]);
    }
    if (largest > limit) findings.push_back(AtMost(*spec, "a batch has", limit));
  }
  return findings;
}

Findings FindUnalignedLastAxes(const RuleInput& input) {
  Findings findings;
  const int64_t bytes = input.limits.last_axis_bytes;
  if (bytes == 0) return findings;
  for (const TensorSpec* spec : input.facts.activations()) {
    const int64_t last = LastAxis(*spec);
    if (last <= 1) continue;
    const int64_t quantum = bytes / static_cast<int64_t>(BytesPerElement(spec->dtype));
    if (last % std::max<int64_t>(1, quantum) == 0) continue;
    findings.push_back(Shown(*spec) + ", padded to a multiple of " + std::to_string(quantum));
  }
  return findings;
}

Findings FindSingleColumns(const RuleInput& input) {
  Findings findings;
  if (input.limits.last_axis_bytes == 0) return findings;
  for (const TensorSpec* spec : input.facts.activations()) {
    if (LastAxis(*spec) == 1) findings.push_back(Shown(*spec));
  }
  return findings;
}

Findings FindShortLastAxes(const RuleInput& input) {
  Findings findings;
  for (const TensorSpec* spec : input.facts.activations()) {
    const int64_t last = LastAxis(*spec);
    if (last <= 1 || last >= input.limits.min_last_axis) continue;
    findings.push_back(Shown(*spec) + "; at least " + std::to_string(input.limits.min_last_axis));
  }
  return findings;
}

Findings FindTransposedLastAxes(const RuleInput& input) {
  Findings findings;
  if (input.limits.last_axis_bytes == 0) return findings;
  for (const Operation* operation : input.facts.OfType({"transpose"})) {
    const std::vector<int64_t> perm = input.facts.IntsOf(*operation, "perm");
    const auto rank = static_cast<int64_t>(perm.size());
    if (perm.empty() || perm.back() == rank - 1 || perm.back() == -1) continue;
    findings.push_back(Shown(*operation));
  }
  return findings;
}

Findings FindLargeTiles(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.tile_bytes;
  if (limit == 0) return findings;
  for (const TensorSpec* spec : input.facts.activations()) {
    if (static_cast<int64_t>(spec->bytes()) <= limit) continue;
    findings.push_back(Shown(*spec) + " with " + std::to_string(spec->bytes()) + " bytes");
  }
  return findings;
}

Findings FindLargeWorkingSets(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.working_set_bytes;
  if (limit == 0) return findings;
  const auto declarations = DeclarationsOf(input.facts.graph());
  for (const Operation& operation : input.facts.graph().operations) {
    if (operation.type.starts_with("constexpr_")) continue;
    int64_t bytes = 0;
    for (const TensorSpec& output : operation.outputs)
      bytes += static_cast<int64_t>(output.bytes());
    for (const auto& [parameter, values] : operation.inputs) {
      if (!input.facts.IsComputed(operation, parameter)) continue;
      for (const std::string& value : values) {
        const auto found = declarations.find(value);
        if (found != declarations.end()) bytes += static_cast<int64_t>(found->second->bytes());
      }
    }
    if (bytes <= limit) continue;
    findings.push_back(Shown(operation) + " with " + std::to_string(bytes) + " bytes; at most " +
                       std::to_string(limit));
  }
  return findings;
}

}  // namespace npumoe
