#include "graph/validator.h"

#include "graph/validator_rules.h"

namespace npumoe {
namespace {

// Reasons name their section of docs/design/ane-facts.md.
struct Rule {
  const char* id;
  Severity severity;
  Findings (*find)(const Graph&, const GraphLimits&);
  const char* why;
  const char* remedy;
};

constexpr Rule kRules[] = {
    {"axis-too-long", Severity::kError, FindLongAxes,
     "widths, heights and channels have hard limits (ane-facts 3)",
     "use form C, or fewer experts in one program"},
    {"rank-too-high", Severity::kError, FindHighRanks,
     "tensors have at most five axes (ane-facts 3)", "merge axes with reshape"},
    {"program-too-large", Severity::kError, FindLargeProgram,
     "larger programs fall back to the CPU or fail to compile (ane-facts 7)",
     "split the group into several programs"},
    {"weight-file-too-large", Severity::kError, FindLargeWeightFile,
     "the compiler checks the size of the weight file (ane-facts 7)",
     "split the group into several packages"},
    {"refused-operation", Severity::kError, FindRefusedOperations,
     "the chip's profile lists the operation as refused (ane-facts 5)",
     "express it by other operations or compute it on the CPU"},
    {"activation-type", Severity::kError, FindWideActivations,
     "other activations leave the NPU (ane-facts 4)",
     "declare inputs and results fp16; convert on the CPU"},
    {"groups-not-dividing", Severity::kError, FindIndivisibleGroups,
     "groups must divide input and output channels (ane-facts 5)",
     "choose a group count that divides both"},
    {"kernel-too-wide", Severity::kError, FindWideKernels,
     "convolution kernels have a largest width (ane-facts 5)", "split the kernel"},

    {"last-axis-unaligned", Severity::kWarning, FindUnalignedLastAxes,
     "the last axis is padded to 64 bytes, 32 values (ane-facts 3)",
     "make the last axis a multiple of 32"},
    {"last-axis-single", Severity::kWarning, FindSingleColumns,
     "a last axis of length 1 costs 32 times its memory (ane-facts 3)",
     "move a longer axis to the end"},
    {"weight-split", Severity::kWarning, FindLargeWeights,
     "a layer's weights above 16 MB are streamed in parts (ane-facts 7)",
     "expect several passes, or split the layer"},
    {"slow-compile", Severity::kWarning, FindSlowCompile,
     "above 250 MB compiling takes long and fills the cache (ane-facts 7)", "use smaller groups"},
    {"program-small", Severity::kWarning, FindSmallProgram,
     "below about 5 million parameters the run time may keep a program on the CPU (ane-facts 2)",
     "put more experts into one program"},
    {"inner-length", Severity::kWarning, FindLongInnerProducts,
     "fp16 results of sums longer than about 5600 were 3% off (ane-facts 4)",
     "verify the program, or keep these experts on the CPU"},
    {"groups-decomposed", Severity::kWarning, FindDecomposedGroups,
     "grouped convolutions beyond Cin*kW*kH = 2048 are probably decomposed (ane-facts 5)",
     "use form C"},
    {"product-not-conv", Severity::kWarning, FindMatrixProducts,
     "a linear layer is best written as a 1x1 convolution (ane-facts 5)", "use form A or C"},
    {"many-branches", Severity::kWarning, FindManyBranches,
     "twelve or more branches that join again slow the compiler (ane-facts 9)",
     "give every branch an output of its own"},
    {"constant-not-finite", Severity::kWarning, FindInfiniteConstants,
     "NaN is not preserved and masks of infinity give NaN (ane-facts 4)", "use -40000 in masks"},
};

// One violation for a rule: the first findings in words, the others as a number.
std::string Summary(const Findings& findings) {
  constexpr size_t kShown = 3;  // chosen: a message of a few lines
  std::string text;
  for (size_t i = 0; i < findings.size() && i < kShown; ++i) {
    text += (i == 0 ? "" : ", ") + findings[i];
  }
  if (findings.size() > kShown) {
    text += " and " + std::to_string(findings.size() - kShown) + " more";
  }
  return text;
}

}  // namespace

std::vector<Violation> ValidateGraph(const Graph& graph, const GraphLimits& limits) {
  std::vector<Violation> violations;
  for (const Rule& rule : kRules) {
    const Findings findings = rule.find(graph, limits);
    if (findings.empty()) continue;
    violations.push_back({rule.id, rule.severity, Summary(findings), rule.why, rule.remedy});
  }
  return violations;
}

Status RefusalOf(const std::vector<Violation>& violations) {
  std::string message;
  for (const Violation& violation : violations) {
    if (violation.severity != Severity::kError) continue;
    message += (message.empty() ? "" : "; ") + violation.rule + ": " + violation.found + ": " +
               violation.why + ": " + violation.remedy;
  }
  return message.empty() ? OkStatus() : Unsupported(message);
}

}  // namespace npumoe
