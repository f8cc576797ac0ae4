// Program message -> Graph. Converts and refuses what a Graph cannot hold (states, flexible
// shapes, nested blocks, values bound in place to anything but constexpr operations); whether the
// result is sound is asked of graph_check.h, which infers every shape again.
#pragma once

#include <string>

#include "base/status.h"
#include "coreml_min.pb.h"
#include "graph/graph.h"
#include "graph/weight_blob.h"

namespace npumoe {

// `weights` is null when the package has no weight file.
Result<Graph> ReadFunction(const std::string& name, const coreml::Function& function,
                           const WeightBlobFile* weights);

// Whether the described inputs and outputs are exactly those of the graph.
template <class Description>
Status CheckInterface(const Graph& graph, const Description& description);

extern template Status CheckInterface(const Graph&, const coreml::ModelDescription&);
extern template Status CheckInterface(const Graph&, const coreml::FunctionDescription&);

}  // namespace npumoe
