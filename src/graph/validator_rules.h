// The rules behind validator.h, one function a rule. Each looks at a whole graph and reports what
// it found; id, severity, reason and remedy stand in the table of validator.cc.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "graph/validator.h"

namespace npumoe {

// What offends a rule, one line each; empty when nothing does.
using Findings = std::vector<std::string>;

Findings FindLongAxes(const Graph& graph, const GraphLimits& limits);
Findings FindHighRanks(const Graph& graph, const GraphLimits& limits);
Findings FindLargeProgram(const Graph& graph, const GraphLimits& limits);
Findings FindLargeWeightFile(const Graph& graph, const GraphLimits& limits);
Findings FindRefusedOperations(const Graph& graph, const GraphLimits& limits);
Findings FindWideActivations(const Graph& graph, const GraphLimits& limits);
Findings FindIndivisibleGroups(const Graph& graph, const GraphLimits& limits);
Findings FindWideKernels(const Graph& graph, const GraphLimits& limits);

Findings FindUnalignedLastAxes(const Graph& graph, const GraphLimits& limits);
Findings FindSingleColumns(const Graph& graph, const GraphLimits& limits);
Findings FindLargeWeights(const Graph& graph, const GraphLimits& limits);
Findings FindSlowCompile(const Graph& graph, const GraphLimits& limits);
Findings FindSmallProgram(const Graph& graph, const GraphLimits& limits);
Findings FindLongInnerProducts(const Graph& graph, const GraphLimits& limits);
Findings FindDecomposedGroups(const Graph& graph, const GraphLimits& limits);
Findings FindMatrixProducts(const Graph& graph, const GraphLimits& limits);
Findings FindManyBranches(const Graph& graph, const GraphLimits& limits);
Findings FindInfiniteConstants(const Graph& graph, const GraphLimits& limits);

}  // namespace npumoe
