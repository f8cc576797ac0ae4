#include "graph/builder.h"

#include <gtest/gtest.h>

#include "graph/graph_check.h"
#include "graph/testing/sample_graphs.h"

namespace npumoe {
namespace {

using Value = GraphBuilder::Value;

void ExpectError(GraphBuilder builder, const std::string& expected) {
  const Status status = std::move(builder).Finish().status();
  EXPECT_NE(status.message().find(expected), std::string::npos) << status.message();
}

TEST(GraphBuilder, MakesSoundGraphsOfAllItsOperations) {
  const Status status = CheckGraph(testing::EveryOperation());
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(GraphBuilder, WritesEveryDefaultOut) {
  const Graph graph = testing::ExpertGraph(GraphForm::kDenseChains, {8, 4}, {16});
  const Operation& conv = graph.operations.front();
  for (const char* parameter : {"strides", "pad_type", "pad", "dilations", "groups"}) {
    EXPECT_NE(conv.Bound(parameter), nullptr) << parameter;
  }
  EXPECT_EQ(conv.Bound("bias"), nullptr);
}

TEST(GraphBuilder, StoresEqualParametersOnce) {
  const Graph graph = testing::ExpertGraph(GraphForm::kDenseChains, {8, 4}, {16, 16, 16});
  // per expert three weights; strides and dilations are one constant
  EXPECT_EQ(graph.constants.size(), 3u * 3u + 4u);
}

TEST(GraphBuilder, RoundsParametersToTheTypeOfX) {
  GraphBuilder builder("main");
  const Value x = builder.Input("x", DType::kF16, Shape{4});
  builder.Output(builder.Rsqrt("y", x, 0.1f));
  const Result<Graph> graph = std::move(builder).Finish();
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const std::string& name = graph->operations.front().Bound("epsilon")->front();
  const Constant& epsilon = graph->constants.at(name);
  EXPECT_EQ(epsilon.spec.dtype, DType::kF16);
  EXPECT_EQ(std::get<std::vector<float>>(epsilon.value).front(), 0.0999755859375f);
}

TEST(GraphBuilder, KeepsTheFirstMistake) {
  GraphBuilder builder("layer_7");
  const Value x = builder.Input("x", DType::kF16, Shape{4});
  const Value y = builder.Input("y", DType::kF16, Shape{5});
  builder.Output(builder.Silu("z", builder.Add("sum", x, y)));
  ExpectError(std::move(builder), "graph 'layer_7': operation 'sum' (add): axes of length 4 and 5");
}

TEST(GraphBuilder, RefusesANameUsedTwice) {
  GraphBuilder builder("main");
  const Value x = builder.Input("x", DType::kF16, Shape{4});
  builder.Output(builder.Silu("x", x));
  ExpectError(std::move(builder), "the name 'x' is used twice");
}

TEST(GraphBuilder, RefusesANameThatMilDoesNotTake) {
  GraphBuilder builder("main");
  builder.Output(builder.Silu("y", builder.Input("1x", DType::kF16, Shape{4})));
  ExpectError(std::move(builder), "the name '1x'");
}

TEST(GraphBuilder, RefusesAGraphWithoutOutputs) {
  GraphBuilder builder("main");
  builder.Input("x", DType::kF16, Shape{4});
  ExpectError(std::move(builder), "no output is declared");
}

TEST(GraphBuilder, RefusesFloatsThatDoNotFillTheirShape) {
  GraphBuilder builder("main");
  builder.Floats("mask", DType::kF16, Shape{3}, {0.0f});
  ExpectError(std::move(builder), "has 1 values for the shape [3]");
}

TEST(Graph, FindsInputsConstantsAndResults) {
  const Graph graph = testing::ExpertGraph(GraphForm::kGroupedConv, {8, 4}, {16, 16});
  for (const char* name : {"x", "w_gate", "act"}) EXPECT_NE(graph.Find(name), nullptr) << name;
  EXPECT_EQ(graph.Find("z"), nullptr);
  EXPECT_EQ(DeclarationsOf(graph).at("act"), graph.Find("act"));
}

TEST(Graph, CountsTheBytesOfItsWeights) {
  const Graph graph = testing::ExpertGraph(GraphForm::kGroupedConv, {8, 4}, {16, 16});
  EXPECT_EQ(graph.WeightBytes(), 2 * 3 * 8 * 4 * 2);
}

}  // namespace
}  // namespace npumoe
