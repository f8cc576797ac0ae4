// CheckGraph: whether a graph is one at all. The writer asks before it writes, the reader after
// it has read; what a particular device refuses is validator.h's question.
#pragma once

#include "base/status.h"
#include "graph/graph.h"

namespace npumoe {

// Largest input or result of an operation (chosen: four times [1, 65536, 1, 2048] in fp16), so
// that an executor may allocate what a checked graph declares.
inline constexpr int64_t kMaxActivationBytes = int64_t{1} << 30;

// Valid and unique names, sane shapes, constants that hold what they declare, operations in the
// order of dependence whose declared results equal the inferred ones, outputs that an operation
// produces. kUnsupported for unknown operations and types, else kInvalidInput.
Status CheckGraph(const Graph& graph);

}  // namespace npumoe
