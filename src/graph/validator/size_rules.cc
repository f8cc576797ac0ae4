// Rules about the size of a program, its work, and the system it asks for.
#include <algorithm>

#include "base/checked_math.h"
#include "graph/validator/rules.h"

namespace npumoe {
namespace {

constexpr int64_t kBlobAlignment = 64;  // headers and alignment of a weight file (coreml-format 3)

// The weight file of this function alone, as the writer lays it out.
int64_t WeightFileBytes(const Graph& graph) {
  int64_t bytes = kBlobAlignment;
  for (const auto& [name, constant] : graph.constants) {
    if (!std::holds_alternative<WeightData>(constant.value)) continue;
    bytes += kBlobAlignment + RoundUp(static_cast<int64_t>(constant.spec.bytes()), kBlobAlignment);
  }
  return bytes;
}

std::string Beyond(int64_t bytes, const char* what, int64_t limit) {
  return std::to_string(bytes) + " bytes " + what + "; at most " + std::to_string(limit) +
         " are allowed";
}

// The first version of the system that has an operation; 0: any. Numbers as ane-facts 1 has them.
int64_t VersionOf(const Operation& operation) {
  struct Entry {
    std::string_view type;
    int64_t version;
  };
  static constexpr Entry kEntries[] = {{"constexpr_blockwise_shift_scale", 15},
                                       {"constexpr_lut_to_dense", 15},
                                       {"read_state", 15},
                                       {"coreml_update_state", 15},
                                       {"scaled_dot_product_attention", 15},
                                       {"quantize", 14}};
  const auto found = std::find_if(std::begin(kEntries), std::end(kEntries),
                                  [&](const Entry& e) { return e.type == operation.type; });
  return found == std::end(kEntries) ? 0 : found->version;
}

constexpr int64_t kSeveralFunctionsVersion = 15;
constexpr int64_t kHalfInterfaceVersion = 13;

}  // namespace

Findings FindLargeProgram(const RuleInput& input) {
  const int64_t bytes = input.facts.graph().WeightBytes();
  if (bytes <= input.limits.max_program_bytes) return {};
  return {Beyond(bytes, "of weights", input.limits.max_program_bytes)};
}

Findings FindLargeWeightFile(const RuleInput& input) {
  const int64_t bytes =
      std::max(WeightFileBytes(input.facts.graph()), input.package.weight_file_bytes);
  if (bytes <= input.limits.max_weight_file_bytes) return {};
  return {Beyond(bytes, "in the weight file", input.limits.max_weight_file_bytes)};
}

Findings FindSlowCompile(const RuleInput& input) {
  const int64_t bytes = input.facts.graph().WeightBytes();
  const int64_t limit = input.limits.fast_compile_bytes;
  if (limit == 0 || bytes <= limit) return {};
  return {Beyond(bytes, "of weights", limit)};
}

Findings FindSmallProgram(const RuleInput& input) {
  int64_t parameters = 0;
  for (const WeightFacts& weight : input.facts.weights()) parameters += weight.elements;
  if (parameters >= input.limits.placed_parameters) return {};
  return {std::to_string(parameters) + " parameters"};
}

Findings FindLaunchBound(const RuleInput& input) {
  double flops = 0;
  for (const ProductFacts& product : input.facts.products()) flops += product.flops;
  if (flops >= input.limits.launch_flops) return {};
  return {std::to_string(static_cast<int64_t>(flops / 1e6)) + " Mflop; " +
          std::to_string(static_cast<int64_t>(input.limits.launch_flops / 1e6)) +
          " could be done while a launch takes place"};
}

Findings FindOldSystem(const RuleInput& input) {
  Findings findings;
  const int64_t version = input.limits.system_version;
  if (version == 0) return findings;
  const auto check = [&](const std::string& what, int64_t needed) {
    if (needed <= version) return;
    findings.push_back(what + ": version " + std::to_string(needed) + " is needed, " +
                       std::to_string(version) + " is there");
  };
  if (input.package.functions > 1) check("several functions", kSeveralFunctionsVersion);
  const auto& inputs = input.facts.graph().inputs;
  const bool halves = std::any_of(inputs.begin(), inputs.end(),
                                  [](const TensorSpec& s) { return s.dtype == DType::kF16; });
  if (halves) check("fp16 inputs", kHalfInterfaceVersion);
  for (const Operation& operation : input.facts.graph().operations) {
    check(Shown(operation), VersionOf(operation));
  }
  return findings;
}

}  // namespace npumoe
