#include "graph/expert_program.h"

#include <gtest/gtest.h>

#include <limits>

#include "graph/graph_check.h"
#include "graph/testing/graph_equality.h"
#include "graph/testing/sample_graphs.h"

namespace npumoe {
namespace {

using testing::BytesOf;
using testing::ExpertGraph;
using testing::RandomSlots;

std::vector<std::byte> WeightBytes(const Graph& graph, const std::string& name) {
  const Constant& constant = graph.constants.at(name);
  return BytesOf(constant.spec, std::get<WeightData>(constant.value));
}

Shape ShapeOf(const Graph& graph, const std::string& name) {
  const TensorSpec* spec = graph.Find(name);
  return spec == nullptr ? Shape{} : spec->shape;
}

TEST(ExpertProgram, FormCGivesEachExpertItsOwnInputAndCapacity) {
  const Graph graph = ExpertGraph(GraphForm::kDenseChains, {24, 16}, {16, 64});
  ASSERT_EQ(graph.inputs.size(), 2u);
  EXPECT_EQ(graph.inputs[0].name, "x_3");
  EXPECT_EQ(graph.inputs[1].name, "x_10");
  EXPECT_EQ(graph.inputs[1].shape, (Shape{1, 24, 1, 64}));
  EXPECT_EQ(graph.outputs, (std::vector<std::string>{"y_3", "y_10"}));
  EXPECT_EQ(ShapeOf(graph, "y_3"), (Shape{1, 24, 1, 16}));
  EXPECT_EQ(ShapeOf(graph, "w_down_10"), (Shape{24, 16, 1, 1}));
}

TEST(ExpertProgram, FormAStacksExpertsInTheChannels) {
  const Graph graph = ExpertGraph(GraphForm::kGroupedConv, {24, 16}, {32, 32, 32});
  EXPECT_EQ(ShapeOf(graph, "x"), (Shape{1, 72, 1, 32}));
  EXPECT_EQ(ShapeOf(graph, "gate"), (Shape{1, 48, 1, 32}));
  EXPECT_EQ(ShapeOf(graph, "y"), (Shape{1, 72, 1, 32}));
  EXPECT_EQ(ShapeOf(graph, "w_down"), (Shape{72, 16, 1, 1}));
}

TEST(ExpertProgram, FormBStacksExpertsInTheBatch) {
  const Graph graph = ExpertGraph(GraphForm::kBatchedMatmul, {24, 16}, {32, 32, 32});
  EXPECT_EQ(ShapeOf(graph, "x"), (Shape{3, 32, 24}));
  EXPECT_EQ(ShapeOf(graph, "y"), (Shape{3, 32, 24}));
  EXPECT_EQ(ShapeOf(graph, "w_gate"), (Shape{3, 16, 24}));
}

TEST(ExpertProgram, AllFormsHoldTheSameWeightBytes) {
  const Graph a = ExpertGraph(GraphForm::kGroupedConv, {24, 16}, {32, 32});
  const Graph b = ExpertGraph(GraphForm::kBatchedMatmul, {24, 16}, {32, 32});
  const Graph c = ExpertGraph(GraphForm::kDenseChains, {24, 16}, {32, 32});
  for (const std::string weight : {"w_gate", "w_up", "w_down"}) {
    std::vector<std::byte> chained = WeightBytes(c, weight + "_3");
    const std::vector<std::byte> second = WeightBytes(c, weight + "_10");
    chained.insert(chained.end(), second.begin(), second.end());
    EXPECT_EQ(WeightBytes(a, weight), chained);
    EXPECT_EQ(WeightBytes(b, weight), chained);
  }
}

TEST(ExpertProgram, EveryFormIsASoundGraph) {
  for (const GraphForm form :
       {GraphForm::kGroupedConv, GraphForm::kBatchedMatmul, GraphForm::kDenseChains}) {
    const Status status = CheckGraph(ExpertGraph(form, {17, 11}, {7, 7, 7}));
    EXPECT_TRUE(status.ok()) << Name(form) << ": " << status.message();
  }
}

// Slots with biases, for the clamped activation.
std::vector<ExpertSlot> BiasedSlots(const std::vector<int64_t>& capacities) {
  std::vector<ExpertSlot> slots = RandomSlots({8, 4}, capacities);
  for (ExpertSlot& slot : slots) {
    const auto seed = static_cast<uint32_t>(slot.expert);
    slot.gate_bias = testing::RandomHalves(seed, 1.0f);
    slot.up_bias = testing::RandomHalves(seed + 1, 1.0f);
    slot.down_bias = testing::RandomHalves(seed + 2, 1.0f);
  }
  return slots;
}

TEST(ExpertProgram, EveryFormIsASoundGraphWithBiasesAndAClamp) {
  for (const GraphForm form :
       {GraphForm::kGroupedConv, GraphForm::kBatchedMatmul, GraphForm::kDenseChains}) {
    const Result<Graph> graph = BuildExpertGraph(form, {8, 4, 7.0f}, BiasedSlots({16, 16}));
    ASSERT_TRUE(graph.ok()) << Name(form) << ": " << graph.status().message();
    const Status status = CheckGraph(*graph);
    EXPECT_TRUE(status.ok()) << Name(form) << ": " << status.message();
  }
}

TEST(ExpertProgram, BiasesBelongToTheirExpert) {
  const Result<Graph> graph =
      BuildExpertGraph(GraphForm::kDenseChains, {8, 4}, BiasedSlots({16, 32}));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(ShapeOf(*graph, "b_gate_10"), (Shape{4}));
  EXPECT_EQ(ShapeOf(*graph, "b_down_3"), (Shape{8}));
}

TEST(ExpertProgram, RefusesABiasThatOneExpertLacks) {
  std::vector<ExpertSlot> slots = BiasedSlots({16, 16});
  slots[1].up_bias = {};
  const Result<Graph> graph = BuildExpertGraph(GraphForm::kDenseChains, {8, 4}, slots);
  EXPECT_NE(graph.status().message().find("expert 10: up bias has neither"), std::string::npos)
      << graph.status().message();
}

TEST(ExpertProgram, RefusesABiasThatTheFirstExpertLacks) {
  std::vector<ExpertSlot> slots = BiasedSlots({16, 16});
  slots[0] = RandomSlots({8, 4}, {16})[0];
  const Result<Graph> graph = BuildExpertGraph(GraphForm::kDenseChains, {8, 4}, slots);
  EXPECT_NE(graph.status().message().find("expert 10: gate bias is given"), std::string::npos)
      << graph.status().message();
}

TEST(ExpertProgram, RefusesAClampThatFp16CannotHold) {
  for (const float limit : {-1.0f, 1e6f, std::numeric_limits<float>::quiet_NaN()}) {
    const Result<Graph> graph =
        BuildExpertGraph(GraphForm::kDenseChains, {8, 4, limit}, RandomSlots({8, 4}, {16}));
    EXPECT_EQ(graph.status().code(), StatusCode::kInvalidInput) << limit;
  }
}

TEST(ExpertProgram, TakesWeightsThatAreViews) {
  std::vector<ExpertSlot> slots = RandomSlots({8, 4}, {16});
  const std::vector<std::byte> bytes = BytesOf({"", DType::kF16, Shape{4, 8}}, slots[0].up.values);
  slots[0].up = WeightData{{DType::kF16, Shape{4, 8}, bytes.data()}, nullptr};
  const Result<Graph> graph = BuildExpertGraph(GraphForm::kDenseChains, {8, 4}, slots);
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(WeightBytes(*graph, "w_up_3"), bytes);
  EXPECT_TRUE(CheckGraph(*graph).ok());
}

TEST(ExpertProgram, FormsAAndBRefuseUnequalCapacities) {
  for (const GraphForm form : {GraphForm::kGroupedConv, GraphForm::kBatchedMatmul}) {
    const Result<Graph> graph = BuildExpertGraph(form, {8, 4}, RandomSlots({8, 4}, {16, 32}));
    EXPECT_EQ(graph.status().code(), StatusCode::kUnsupported);
    EXPECT_NE(graph.status().message().find("found 16 and 32"), std::string::npos);
  }
}

TEST(ExpertProgram, RefusesAnExpertListedTwice) {
  std::vector<ExpertSlot> slots = RandomSlots({8, 4}, {16, 16});
  slots[1].expert = slots[0].expert;
  const Result<Graph> graph = BuildExpertGraph(GraphForm::kDenseChains, {8, 4}, slots);
  EXPECT_NE(graph.status().message().find("expert 3 is listed twice"), std::string::npos);
}

TEST(ExpertProgram, RefusesACapacityOfZero) {
  const Result<Graph> graph =
      BuildExpertGraph(GraphForm::kDenseChains, {8, 4}, RandomSlots({8, 4}, {0}));
  EXPECT_NE(graph.status().message().find("expert 3: capacity 0"), std::string::npos);
}

TEST(ExpertProgram, RefusesNoExperts) {
  EXPECT_FALSE(BuildExpertGraph(GraphForm::kDenseChains, {8, 4}, {}).ok());
}

TEST(ExpertProgram, RefusesAViewOfAnotherSize) {
  std::vector<ExpertSlot> slots = RandomSlots({8, 4}, {16});
  const std::vector<std::byte> bytes(62);
  slots[0].down = WeightData{{DType::kF16, Shape{31}, bytes.data()}, nullptr};
  const Result<Graph> graph = BuildExpertGraph(GraphForm::kDenseChains, {8, 4}, slots);
  EXPECT_NE(graph.status().message().find("down is F16 [31]; F16 with 32 elements is needed"),
            std::string::npos)
      << graph.status().message();
}

TEST(ExpertProgram, RefusesSizesWhoseProductOverflows) {
  const int64_t huge = int64_t{1} << 40;
  const Result<Graph> graph =
      BuildExpertGraph(GraphForm::kGroupedConv, {huge, huge}, RandomSlots({8, 4}, {16}));
  EXPECT_EQ(graph.status().code(), StatusCode::kInvalidInput);
}

TEST(GraphForm, IsParsedFromItsLetter) {
  EXPECT_EQ(*ParseGraphForm("A"), GraphForm::kGroupedConv);
  EXPECT_EQ(*ParseGraphForm("B"), GraphForm::kBatchedMatmul);
  EXPECT_EQ(*ParseGraphForm("C"), GraphForm::kDenseChains);
}

TEST(GraphForm, ListsTheKnownLettersForAnother) {
  EXPECT_NE(ParseGraphForm("D").status().message().find("allowed are A"), std::string::npos);
}

}  // namespace
}  // namespace npumoe
