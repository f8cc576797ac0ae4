#include "graph/graph_check.h"

#include <gtest/gtest.h>

#include "graph/testing/sample_graphs.h"

namespace npumoe {
namespace {

Graph Sound() { return testing::ExpertGraph(GraphForm::kDenseChains, {8, 4}, {16}); }

void ExpectError(const Graph& graph, const std::string& expected) {
  const Status status = CheckGraph(graph);
  EXPECT_NE(status.message().find(expected), std::string::npos) << status.message();
}

TEST(CheckGraph, AcceptsASoundGraph) { EXPECT_TRUE(CheckGraph(Sound()).ok()); }

TEST(CheckGraph, RefusesOperationsOutOfOrder) {
  Graph graph = Sound();
  std::swap(graph.operations.front(), graph.operations.back());
  ExpectError(graph, "which nothing before this operation defines");
}

TEST(CheckGraph, RefusesAWrongDeclaration) {
  Graph graph = Sound();
  graph.operations.front().outputs.front().dtype = DType::kF32;
  ExpectError(graph, "declares its result 'gate_3' (F32 [1, 4, 1, 16]); it computes F16");
}

TEST(CheckGraph, RefusesAMissingResult) {
  Graph graph = Sound();
  graph.operations.front().outputs.clear();
  ExpectError(graph, "declares 0 results; it computes 1");
}

TEST(CheckGraph, RefusesTwoOperationsOfOneName) {
  Graph graph = Sound();
  graph.operations[1].name = graph.operations[0].name;
  ExpectError(graph, "the operation name 'gate_3' is used twice");
}

TEST(CheckGraph, RefusesAnOutputListedTwice) {
  Graph graph = Sound();
  graph.outputs.push_back(graph.outputs.front());
  ExpectError(graph, "'y_3' is listed twice");
}

TEST(CheckGraph, RefusesAWeightWithoutBytes) {
  Graph graph = Sound();
  std::get<WeightData>(graph.constants.at("w_up_3").value).produce = nullptr;
  ExpectError(graph, "has neither bytes nor a producer");
}

TEST(CheckGraph, RefusesAWeightTypeThatTheFileLacks) {
  Graph graph = Sound();
  graph.constants.at("w_up_3").spec.dtype = DType::kBF16;
  ExpectError(graph, "the weight file has no such type");
}

TEST(CheckGraph, RefusesAConstantUnderAnotherName) {
  Graph graph = Sound();
  graph.constants.at("w_up_3").spec.name = "w_up_4";
  ExpectError(graph, "'w_up_3' is declared as 'w_up_4'");
}

TEST(CheckGraph, RefusesALiteralOfAnotherLength) {
  Graph graph = Sound();
  graph.constants.at("int_1").value = std::vector<int32_t>{1, 1};
  ExpectError(graph, "holds 2 values");
}

TEST(CheckGraph, RefusesABoolInput) {
  Graph graph = Sound();
  graph.inputs.push_back({"mask", DType::kBool, Shape{4}});
  ExpectError(graph, "only F16, F32 and I32 cross the border");
}

TEST(CheckGraph, RefusesAFunctionNameThatMilDoesNotTake) {
  Graph graph = Sound();
  graph.name = "rows 16";
  ExpectError(graph, "function name 'rows 16'");
}

}  // namespace
}  // namespace npumoe
