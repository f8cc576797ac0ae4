// Graph -> Program message. Weights stream through the blob writer, one tensor in memory at a
// time. Constants come first, in the order of their names; then the operations, those that make
// weights with their stored parts inside.
#pragma once

#include "base/status.h"
#include "coreml_min.pb.h"
#include "graph/graph.h"
#include "graph/weight_blob.h"

namespace npumoe {

inline constexpr char kOpset[] = "CoreML8";  // iOS 18, macOS 15
inline constexpr int kSpecificationVersion = 9;
inline constexpr char kWeightFileName[] = "@model_path/weights/weight.bin";

// The graph as one function of `program`. Needs a graph that CheckGraph accepts. Fails when a
// weight cannot be produced or written.
Status AppendFunction(const Graph& graph, WeightBlobWriter& weights, coreml::Program& program);

// Names, types and shapes at the border of all functions: a single one called "main" stands in
// the description itself, several in its list, the first as the default.
void DescribeFunctions(std::span<const Graph> functions, coreml::ModelDescription& description);

}  // namespace npumoe
