#include "fuzz/package_files.h"

#include "fuzz/fuzz.h"
#include "graph/graph_check.h"
#include "graph/testing/sample_graphs.h"

namespace npumoe::fuzz {

SamplePackage::SamplePackage() {
  const testing::ExpertSizes sizes = {6, 4};
  const Graph graphs[] = {
      testing::EveryOperation(),
      testing::ExpertGraph(GraphForm::kGroupedConv, sizes, {3, 3}, "grouped"),
      testing::ExpertGraph(GraphForm::kBatchedMatmul, sizes, {2, 2}, "batched"),
      testing::ExpertGraph(GraphForm::kDenseChains, sizes, {3, 4}, "dense"),
  };
  const Status written = WriteMlpackage(path(), graphs, {"sample", {{"key", "value"}}});
  Require(written.ok(), "the sample package can be written: " + written.message());
}

void CheckPackage(const Mlpackage& package) {
  for (const Graph& graph : package.functions) {
    const Status status = CheckGraph(graph);
    Require(status.ok(), "what was read is a sound graph: " + status.message());
    for (const auto& [name, constant] : graph.constants) {
      const auto* weight = std::get_if<WeightData>(&constant.value);
      if (weight == nullptr) continue;
      Require(!weight->view.empty() || constant.spec.bytes() == 0,
              "weight '" + name + "' is there");
      Touch({weight->view.data, weight->view.bytes()});
    }
  }
}

}  // namespace npumoe::fuzz
