// Rules about the types of values.
#include <algorithm>
#include <cmath>

#include "graph/mil_types.h"
#include "graph/validator/rules.h"

namespace npumoe {

Findings FindInterfaceTypes(const RuleInput& input) {
  Findings findings;
  const Graph& graph = input.facts.graph();
  const auto check = [&](const TensorSpec& spec) {
    if (!ArrayTypeOf(spec.dtype)) findings.push_back(Shown(spec));
  };
  for (const TensorSpec& spec : graph.inputs) check(spec);
  for (const std::string& output : graph.outputs) {
    if (const TensorSpec* spec = graph.Find(output)) check(*spec);
  }
  return findings;
}

Findings FindActivationTypes(const RuleInput& input) {
  Findings findings;
  const std::vector<std::string>& allowed = input.limits.activation_types;
  if (allowed.empty()) return findings;
  for (const TensorSpec* spec : input.facts.activations()) {
    if (std::find(allowed.begin(), allowed.end(), Name(spec->dtype)) == allowed.end()) {
      findings.push_back(Shown(*spec));
    }
  }
  return findings;
}

Findings FindInt32Casts(const RuleInput& input) {
  Findings findings;
  if (!input.limits.refuses_int32_cast) return findings;
  for (const Operation* operation : input.facts.OfType({"cast"})) {
    const bool to_int32 = std::any_of(operation->outputs.begin(), operation->outputs.end(),
                                      [](const TensorSpec& o) { return o.dtype == DType::kI32; });
    if (to_int32) findings.push_back(Shown(*operation));
  }
  return findings;
}

Findings FindInfiniteConstants(const RuleInput& input) {
  Findings findings;
  for (const auto& [name, constant] : input.facts.graph().constants) {
    const auto* floats = std::get_if<std::vector<float>>(&constant.value);
    if (floats == nullptr) continue;
    const float largest =
        constant.spec.dtype == DType::kF16 ? kF16Max : std::numeric_limits<float>::max();
    // Written so that NaN is none of them.
    const bool finite = std::all_of(floats->begin(), floats->end(),
                                    [&](float x) { return std::abs(x) <= largest; });
    if (!finite) findings.push_back(Shown(constant.spec) + " holds infinity or NaN");
  }
  return findings;
}

}  // namespace npumoe
