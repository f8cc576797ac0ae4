#include "graph/validator_rules.h"

#include <algorithm>
#include <cmath>

#include "base/checked_math.h"

namespace npumoe {
namespace {

// Origins: docs/design/ane-facts.md, the sections that validator.cc names beside each rule.
constexpr int64_t kMaxKernel = 16;
constexpr int64_t kLastAxisQuantum = 32;
constexpr int64_t kStreamedWeightBytes = int64_t{16} << 20;
constexpr int64_t kFastCompileBytes = 250'000'000;
constexpr int64_t kPlacedParameters = 5'000'000;
constexpr int64_t kAccurateInnerLength = 5600;
constexpr int64_t kGroupDecomposeLength = 2048;
constexpr size_t kBranches = 12;
constexpr int64_t kBlobHeaderBytes = 64;

std::string Shown(const TensorSpec& spec) {
  return "'" + spec.name + "' " + Name(spec.dtype) + " " + spec.shape.ToString();
}

std::string Shown(const Operation& operation) {
  return "operation '" + operation.name + "' (" + operation.type + ")";
}

template <class Visit>
void ForEachActivation(const Graph& graph, const Visit& visit) {
  for (const TensorSpec& input : graph.inputs) visit(input);
  for (const Operation& operation : graph.operations) {
    for (const TensorSpec& output : operation.outputs) visit(output);
  }
}

template <class Visit>
void ForEachTensor(const Graph& graph, const Visit& visit) {
  ForEachActivation(graph, visit);
  for (const auto& [name, constant] : graph.constants) visit(constant.spec);
}

template <class Visit>
void ForEachWeight(const Graph& graph, const Visit& visit) {
  for (const auto& [name, constant] : graph.constants) {
    if (std::holds_alternative<WeightData>(constant.value)) visit(constant.spec);
  }
}

// The constant tensor bound to a parameter, or null.
const Constant* BoundConstant(const Graph& graph, const Operation& operation,
                              const char* parameter) {
  const std::vector<std::string>* names = operation.Bound(parameter);
  if (names == nullptr || names->empty()) return nullptr;
  const auto found = graph.constants.find(names->front());
  return found == graph.constants.end() ? nullptr : &found->second;
}

struct ConvFacts {
  const Operation* operation = nullptr;
  Shape weight;
  int64_t groups = 1;
  int64_t input_channels = 0;
};

template <class Visit>
void ForEachConv(const Graph& graph, const Visit& visit) {
  const auto declarations = DeclarationsOf(graph);
  for (const Operation& operation : graph.operations) {
    const Constant* weight = BoundConstant(graph, operation, "weight");
    if (operation.type != "conv" || weight == nullptr || weight->spec.shape.rank() < 3) continue;
    ConvFacts facts{&operation, weight->spec.shape, 1, 0};
    if (const Constant* groups = BoundConstant(graph, operation, "groups")) {
      if (const auto* value = std::get_if<std::vector<int32_t>>(&groups->value)) {
        facts.groups = value->empty() ? 0 : value->front();
      }
    }
    const std::vector<std::string>* x = operation.Bound("x");
    const auto input = declarations.find(x == nullptr || x->empty() ? std::string_view()
                                                                    : std::string_view(x->front()));
    if (input != declarations.end() && input->second->shape.rank() > 1) {
      facts.input_channels = input->second->shape[1];
    }
    visit(facts);
  }
}

// Products that one sum of a convolution adds up: Cin / groups * kernel.
int64_t InnerLength(const Shape& weight) { return Shape(weight.axes().subspan(1)).elements(); }

}  // namespace

Findings FindLongAxes(const Graph& graph, const GraphLimits& limits) {
  Findings findings;
  ForEachTensor(graph, [&](const TensorSpec& spec) {
    const auto axes = spec.shape.axes();
    if (std::any_of(axes.begin(), axes.end(), [&](int64_t n) { return n > limits.max_axis; })) {
      findings.push_back(Shown(spec) + "; an axis has at most " + std::to_string(limits.max_axis));
    }
  });
  return findings;
}

Findings FindHighRanks(const Graph& graph, const GraphLimits& limits) {
  Findings findings;
  ForEachTensor(graph, [&](const TensorSpec& spec) {
    if (spec.shape.rank() <= limits.max_rank) return;
    findings.push_back(Shown(spec) + "; the rank is at most " + std::to_string(limits.max_rank));
  });
  return findings;
}

Findings FindLargeProgram(const Graph& graph, const GraphLimits& limits) {
  const int64_t bytes = graph.WeightBytes();
  if (bytes <= limits.max_program_bytes) return {};
  return {std::to_string(bytes) + " bytes of weights; at most " +
          std::to_string(limits.max_program_bytes) + " are allowed"};
}

Findings FindLargeWeightFile(const Graph& graph, const GraphLimits& limits) {
  int64_t bytes = kBlobHeaderBytes;
  ForEachWeight(graph, [&](const TensorSpec& spec) {
    bytes += kBlobHeaderBytes + RoundUp(static_cast<int64_t>(spec.bytes()), kBlobHeaderBytes);
  });
  if (bytes <= limits.max_weight_file_bytes) return {};
  return {"a weight file of " + std::to_string(bytes) + " bytes; at most " +
          std::to_string(limits.max_weight_file_bytes) + " are allowed"};
}

Findings FindRefusedOperations(const Graph& graph, const GraphLimits& limits) {
  Findings findings;
  const auto& refused = limits.refused_ops;
  for (const Operation& operation : graph.operations) {
    if (std::find(refused.begin(), refused.end(), operation.type) != refused.end()) {
      findings.push_back(Shown(operation));
    }
  }
  return findings;
}

Findings FindWideActivations(const Graph& graph, const GraphLimits&) {
  Findings findings;
  ForEachActivation(graph, [&](const TensorSpec& spec) {
    if (spec.dtype == DType::kF16 || spec.dtype == DType::kI8) return;
    findings.push_back(Shown(spec) + "; allowed are F16 and I8");
  });
  return findings;
}

Findings FindIndivisibleGroups(const Graph& graph, const GraphLimits&) {
  Findings findings;
  ForEachConv(graph, [&](const ConvFacts& conv) {
    const bool divides = conv.groups > 0 && conv.input_channels % conv.groups == 0 &&
                         conv.weight[0] % conv.groups == 0;
    if (divides) return;
    findings.push_back(Shown(*conv.operation) + " with " + std::to_string(conv.groups) +
                       " groups, " + std::to_string(conv.input_channels) + " input and " +
                       std::to_string(conv.weight[0]) + " output channels");
  });
  return findings;
}

Findings FindWideKernels(const Graph& graph, const GraphLimits&) {
  Findings findings;
  ForEachConv(graph, [&](const ConvFacts& conv) {
    const int64_t width = conv.weight[conv.weight.rank() - 1];
    if (width <= kMaxKernel) return;
    findings.push_back(Shown(*conv.operation) + " with a kernel " + std::to_string(width) +
                       " wide; at most " + std::to_string(kMaxKernel) + " is allowed");
  });
  return findings;
}

Findings FindUnalignedLastAxes(const Graph& graph, const GraphLimits&) {
  Findings findings;
  ForEachActivation(graph, [&](const TensorSpec& spec) {
    const int rank = spec.shape.rank();
    const int64_t last = rank == 0 ? 1 : spec.shape[rank - 1];
    if (last == 1 || last % kLastAxisQuantum == 0) return;
    findings.push_back(Shown(spec));
  });
  return findings;
}

Findings FindSingleColumns(const Graph& graph, const GraphLimits&) {
  Findings findings;
  ForEachActivation(graph, [&](const TensorSpec& spec) {
    const int rank = spec.shape.rank();
    if (rank > 0 && spec.shape[rank - 1] == 1) findings.push_back(Shown(spec));
  });
  return findings;
}

Findings FindLargeWeights(const Graph& graph, const GraphLimits&) {
  Findings findings;
  ForEachWeight(graph, [&](const TensorSpec& spec) {
    if (static_cast<int64_t>(spec.bytes()) > kStreamedWeightBytes) findings.push_back(Shown(spec));
  });
  return findings;
}

Findings FindSlowCompile(const Graph& graph, const GraphLimits&) {
  const int64_t bytes = graph.WeightBytes();
  if (bytes <= kFastCompileBytes) return {};
  return {std::to_string(bytes) + " bytes of weights"};
}

Findings FindSmallProgram(const Graph& graph, const GraphLimits&) {
  int64_t parameters = 0;
  ForEachWeight(graph, [&](const TensorSpec& spec) { parameters += spec.shape.elements(); });
  if (parameters >= kPlacedParameters) return {};
  return {std::to_string(parameters) + " parameters"};
}

Findings FindLongInnerProducts(const Graph& graph, const GraphLimits&) {
  Findings findings;
  ForEachConv(graph, [&](const ConvFacts& conv) {
    if (InnerLength(conv.weight) <= kAccurateInnerLength) return;
    findings.push_back(Shown(*conv.operation) + " sums " +
                       std::to_string(InnerLength(conv.weight)) + " products");
  });
  return findings;
}

Findings FindDecomposedGroups(const Graph& graph, const GraphLimits&) {
  Findings findings;
  ForEachConv(graph, [&](const ConvFacts& conv) {
    if (conv.groups == 1 || InnerLength(conv.weight) <= kGroupDecomposeLength) return;
    findings.push_back(Shown(*conv.operation) + " sums " +
                       std::to_string(InnerLength(conv.weight)) + " products in each group");
  });
  return findings;
}

Findings FindMatrixProducts(const Graph& graph, const GraphLimits&) {
  Findings findings;
  for (const Operation& operation : graph.operations) {
    const bool constant_matmul =
        operation.type == "matmul" && BoundConstant(graph, operation, "y") != nullptr;
    if (constant_matmul || operation.type == "linear") findings.push_back(Shown(operation));
  }
  return findings;
}

Findings FindManyBranches(const Graph& graph, const GraphLimits&) {
  Findings findings;
  for (const Operation& operation : graph.operations) {
    const std::vector<std::string>* values = operation.Bound("values");
    if (values == nullptr || values->size() < kBranches) continue;
    findings.push_back(Shown(operation) + " joins " + std::to_string(values->size()) + " branches");
  }
  return findings;
}

Findings FindInfiniteConstants(const Graph& graph, const GraphLimits&) {
  Findings findings;
  for (const auto& [name, constant] : graph.constants) {
    const auto* floats = std::get_if<std::vector<float>>(&constant.value);
    if (floats == nullptr) continue;
    const bool finite =
        std::all_of(floats->begin(), floats->end(), [](float x) { return std::isfinite(x); });
    if (!finite) findings.push_back(Shown(constant.spec) + " holds infinity or NaN");
  }
  return findings;
}

}  // namespace npumoe
