// The rules of the validator: one table (rule_table.cc) that the validator, `npumoe verify
// --graph` and docs/validator-rules.md share, and one function a rule, which looks at a whole
// graph and says what offends.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "graph/validator.h"
#include "graph/validator/facts.h"

namespace npumoe {

struct RuleInput {
  const GraphFacts& facts;
  const GraphLimits& limits;
  PackageFacts package;
};

// What offends a rule, one line each; empty when nothing does.
using Findings = std::vector<std::string>;

// Who can tell. Only kGraph has a function: the others are limits that a graph by itself keeps or
// cannot express.
enum class CheckedBy {
  kGraph,   // the validator: when a package is compiled, loaded or verified
  kReader,  // whoever reads a package (mlpackage.h)
  kPlan,    // planning, and compiling what a plan asks for
  kDevice,  // the device, when programs are loaded and launched
};
const char* Name(CheckedBy by);       // "graph", "reader", "plan", "device"
const char* Name(Severity severity);  // "error", "warning"

struct Rule {
  const char* id;
  Severity severity;
  CheckedBy by;
  const char* demand;  // what has to hold
  const char* why;
  const char* source;  // section of docs/design/ane-facts.md, and the short name there
  const char* remedy;
  // Keys of the chip profile, parted by blanks, that say whether and with which value the rule
  // holds for a chip. Empty: for all.
  const char* keys;
  Findings (*find)(const RuleInput&);
};

// In the order of the subjects below, errors and warnings mixed.
std::span<const Rule> ValidatorRules();

// "'x' F16 [1, 2]" and "operation 'gate' (conv)" in findings.
std::string Shown(const TensorSpec& spec);
std::string Shown(const Operation& operation);

// shape_rules.cc
Findings FindHighRanks(const RuleInput& input);
Findings FindLongAxes(const RuleInput& input);
Findings FindManyChannels(const RuleInput& input);
Findings FindLargeBatches(const RuleInput& input);
Findings FindUnalignedLastAxes(const RuleInput& input);
Findings FindSingleColumns(const RuleInput& input);
Findings FindShortLastAxes(const RuleInput& input);
Findings FindTransposedLastAxes(const RuleInput& input);
Findings FindLargeTiles(const RuleInput& input);
Findings FindLargeWorkingSets(const RuleInput& input);

// type_rules.cc
Findings FindInterfaceTypes(const RuleInput& input);
Findings FindActivationTypes(const RuleInput& input);
Findings FindInt32Casts(const RuleInput& input);
Findings FindInfiniteConstants(const RuleInput& input);

// operation_rules.cc
Findings FindUnknownOperations(const RuleInput& input);
Findings FindRefusedOperations(const RuleInput& input);
Findings FindState(const RuleInput& input);
Findings FindRunTimeSlices(const RuleInput& input);
Findings FindLongArgReductions(const RuleInput& input);
Findings FindFusedAttention(const RuleInput& input);
Findings FindLayerNorms(const RuleInput& input);
Findings FindManyBranches(const RuleInput& input);
Findings FindOffsetSlices(const RuleInput& input);

// product_rules.cc
Findings FindIndivisibleGroups(const RuleInput& input);
Findings FindDecomposedGroups(const RuleInput& input);
Findings FindUnevenGroups(const RuleInput& input);
Findings FindLargeKernels(const RuleInput& input);
Findings FindOddStrides(const RuleInput& input);
Findings FindRunTimeWeights(const RuleInput& input);
Findings FindDeepProducts(const RuleInput& input);
Findings FindSplitProducts(const RuleInput& input);
Findings FindMatrixProducts(const RuleInput& input);
Findings FindLongSums(const RuleInput& input);

// weight_rules.cc
Findings FindBlockScales(const RuleInput& input);
Findings FindInt8Activations(const RuleInput& input);
Findings FindOddTables(const RuleInput& input);
Findings FindSmallTableGroups(const RuleInput& input);
Findings FindTableStrides(const RuleInput& input);
Findings FindExpandedWeights(const RuleInput& input);
Findings FindLargeWeights(const RuleInput& input);

// size_rules.cc
Findings FindLargeProgram(const RuleInput& input);
Findings FindLargeWeightFile(const RuleInput& input);
Findings FindSlowCompile(const RuleInput& input);
Findings FindSmallProgram(const RuleInput& input);
Findings FindLaunchBound(const RuleInput& input);
Findings FindOldSystem(const RuleInput& input);

}  // namespace npumoe
