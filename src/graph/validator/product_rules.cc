// Rules about convolutions and matrix products.
#include <algorithm>

#include "graph/validator/rules.h"

namespace npumoe {
namespace {

// Products of one sum: Cin / groups * kernel.
int64_t Summed(const ConvFacts& conv) { return Shape(conv.weight.axes().subspan(1)).elements(); }

bool IsDepthwise(const ConvFacts& conv) {
  return conv.groups == conv.input_channels && conv.weight[1] == 1;
}

std::string WithGroups(const ConvFacts& conv) {
  return Shown(*conv.operation) + " with " + std::to_string(conv.groups) + " groups";
}

}  // namespace

Findings FindIndivisibleGroups(const RuleInput& input) {
  Findings findings;
  for (const ConvFacts& conv : input.facts.convs()) {
    const bool divides = conv.groups > 0 && conv.input_channels % conv.groups == 0 &&
                         conv.weight[0] % conv.groups == 0;
    if (divides) continue;
    findings.push_back(WithGroups(conv) + ", " + std::to_string(conv.input_channels) +
                       " input and " + std::to_string(conv.weight[0]) + " output channels");
  }
  return findings;
}

Findings FindDecomposedGroups(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.group_products;
  if (limit == 0) return findings;
  for (const ConvFacts& conv : input.facts.convs()) {
    if (conv.groups == 1 || IsDepthwise(conv) || Summed(conv) <= limit) continue;
    findings.push_back(WithGroups(conv) + " sums " + std::to_string(Summed(conv)) +
                       " products in each group");
  }
  return findings;
}

Findings FindUnevenGroups(const RuleInput& input) {
  Findings findings;
  const int64_t cores = input.limits.group_cores;
  if (cores == 0) return findings;
  for (const ConvFacts& conv : input.facts.convs()) {
    if (conv.groups <= 1 || IsDepthwise(conv) || cores % conv.groups == 0) continue;
    findings.push_back(WithGroups(conv) + " on " + std::to_string(cores) + " cores");
  }
  return findings;
}

Findings FindLargeKernels(const RuleInput& input) {
  Findings findings;
  const auto check = [&](const ConvFacts& conv, int64_t size, int64_t limit, const char* what) {
    if (limit == 0 || size <= limit) return;
    findings.push_back(Shown(*conv.operation) + " with a kernel " + std::to_string(size) + " " +
                       what + "; at most " + std::to_string(limit));
  };
  for (const ConvFacts& conv : input.facts.convs()) {
    const int rank = conv.weight.rank();
    check(conv, conv.weight[rank - 1], input.limits.max_kernel_width, "wide");
    if (rank > 3) check(conv, conv.weight[rank - 2], input.limits.max_kernel_height, "high");
  }
  return findings;
}

Findings FindOddStrides(const RuleInput& input) {
  Findings findings;
  const std::vector<int64_t>& allowed = input.limits.conv_strides;
  if (allowed.empty()) return findings;
  for (const ConvFacts& conv : input.facts.convs()) {
    for (const int64_t stride : conv.strides) {
      if (std::find(allowed.begin(), allowed.end(), stride) != allowed.end()) continue;
      findings.push_back(Shown(*conv.operation) + " with stride " + std::to_string(stride));
      break;
    }
  }
  return findings;
}

Findings FindRunTimeWeights(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.max_run_time_weight_batch;
  if (limit == 0) return findings;
  for (const Operation* operation : input.facts.OfType({"conv"})) {
    const TensorSpec* x = input.facts.SpecOf(*operation, "x");
    if (!input.facts.IsComputed(*operation, "weight") || x == nullptr) continue;
    if (x->shape.rank() == 0 || x->shape[0] <= limit) continue;
    findings.push_back(Shown(*operation) + " over a batch of " + std::to_string(x->shape[0]) +
                       "; at most " + std::to_string(limit));
  }
  return findings;
}

Findings FindDeepProducts(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.max_product_depth;
  if (limit == 0) return findings;
  for (const Operation* operation : input.facts.OfType({"matmul"})) {
    for (const char* parameter : {"x", "y"}) {
      const TensorSpec* operand = input.facts.SpecOf(*operation, parameter);
      if (operand == nullptr || operand->shape.rank() < 5 || operand->shape[1] <= limit) continue;
      findings.push_back(Shown(*operation) + " of " + Shown(*operand));
    }
  }
  return findings;
}

Findings FindSplitProducts(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.kernel_memory_bytes;
  if (limit == 0) return findings;
  for (const Operation* operation : input.facts.OfType({"matmul"})) {
    const TensorSpec* y = input.facts.SpecOf(*operation, "y");
    if (y == nullptr || y->shape.rank() < 2) continue;
    const auto matrix = y->shape.axes().last(2);
    const int64_t bytes = static_cast<int64_t>(BytesOf(y->dtype, matrix[0] * matrix[1]));
    if (bytes <= limit) continue;
    findings.push_back(Shown(*operation) + " by a matrix of " + std::to_string(bytes) + " bytes");
  }
  return findings;
}

Findings FindMatrixProducts(const RuleInput& input) {
  Findings findings;
  if (!input.limits.prefers_convolutions) return findings;
  for (const Operation* operation : input.facts.OfType({"linear", "matmul"})) {
    const bool bound = operation->Bound("y") != nullptr;
    const bool by_weight = bound && !input.facts.IsComputed(*operation, "y");
    if (operation->type == "linear" || by_weight) findings.push_back(Shown(*operation));
  }
  return findings;
}

Findings FindLongSums(const RuleInput& input) {
  Findings findings;
  const int64_t limit = input.limits.accurate_products;
  if (limit == 0) return findings;
  for (const ProductFacts& product : input.facts.products()) {
    if (product.summed <= limit) continue;
    findings.push_back(Shown(*product.operation) + " sums " + std::to_string(product.summed) +
                       " products");
  }
  return findings;
}

}  // namespace npumoe
