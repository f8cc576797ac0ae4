// Compressed weights in graphs: which stored parts fit together, and where results may be bound.
#include <gtest/gtest.h>

#include "graph/builder.h"
#include "graph/graph_check.h"
#include "graph/testing/sample_graphs.h"

namespace npumoe {
namespace {

using Value = GraphBuilder::Value;

WeightData Zeros() {
  return {{}, [](std::span<std::byte> bytes) {
            std::fill(bytes.begin(), bytes.end(), std::byte{0});
            return OkStatus();
          }};
}

GraphBuilder::Stored Part(DType dtype, const Shape& shape) { return {dtype, shape, Zeros()}; }

// A convolution of x [1, 64, 1, 4] with a weight that `declare` makes; the error, or nothing.
template <class Declare>
std::string ErrorOf(const Declare& declare) {
  GraphBuilder builder("main");
  const Value x = builder.Input("x", DType::kF16, Shape{1, 64, 1, 4});
  const Value weight = declare(builder);
  builder.Output(builder.Conv("y", x, weight, {}));
  const Result<Graph> graph = std::move(builder).Finish();
  if (!graph.ok()) return graph.status().message();
  const Status checked = CheckGraph(*graph);
  EXPECT_TRUE(checked.ok()) << checked.message();
  return "";
}

std::string ScaledError(DType integers, const Shape& data, DType scales, const Shape& scale) {
  return ErrorOf([&](GraphBuilder& builder) {
    return builder.BlockwiseShiftScale("w", Part(integers, data), Part(scales, scale));
  });
}

std::string TableError(DType integers, const Shape& indices, DType entries, const Shape& lut) {
  return ErrorOf([&](GraphBuilder& builder) {
    return builder.LutToDense("w", Part(integers, indices), Part(entries, lut));
  });
}

TEST(ConstexprInference, TakesScalesOfRowsAndBlocks) {
  const Shape data{8, 64, 1, 1};
  EXPECT_EQ(ScaledError(DType::kI8, data, DType::kF16, Shape{8, 1, 1, 1}), "");
  EXPECT_EQ(ScaledError(DType::kI8, data, DType::kF16, Shape{8, 2, 1, 1}), "");
  EXPECT_EQ(ScaledError(DType::kI4, data, DType::kF16, Shape{8, 2, 1, 1}), "");
  EXPECT_EQ(ScaledError(DType::kU4, data, DType::kF16, Shape{1, 1, 1, 1}), "");
}

TEST(ConstexprInference, TakesOneTableOrSeveral) {
  const Shape indices{8, 64, 1, 1};
  EXPECT_EQ(TableError(DType::kU4, indices, DType::kF16, Shape{1, 1, 1, 1, 16, 1}), "");
  EXPECT_EQ(TableError(DType::kU6, indices, DType::kF16, Shape{4, 1, 1, 1, 64, 1}), "");
  EXPECT_EQ(TableError(DType::kU8, indices, DType::kF16, Shape{1, 1, 1, 1, 256, 1}), "");
}

struct Refused {
  std::string error;
  const char* expected;
};

TEST(ConstexprInference, SaysWhichScalesDoNotFit) {
  const Shape data{8, 64, 1, 1};
  for (const Refused& refused : {
           Refused{ScaledError(DType::kI8, data, DType::kF16, Shape{8, 3, 1, 1}),
                   "axis 1 of scale [8, 3, 1, 1] does not divide that of data [8, 64, 1, 1]"},
           Refused{ScaledError(DType::kI8, data, DType::kF16, Shape{8, 64, 2, 1}),
                   "axis 2 of scale [8, 64, 2, 1] does not divide"},
           Refused{ScaledError(DType::kI8, data, DType::kF16, Shape{8, 1}), "the same rank"},
           Refused{ScaledError(DType::kI8, data, DType::kI8, Shape{8, 1, 1, 1}), "scale is I8"},
           Refused{ScaledError(DType::kU6, data, DType::kF16, Shape{8, 1, 1, 1}), "data is U6"},
       }) {
    EXPECT_NE(refused.error.find(refused.expected), std::string::npos) << refused.error;
  }
}

TEST(ConstexprInference, SaysWhichTablesDoNotFit) {
  const Shape indices{8, 64, 1, 1};
  for (const Refused& refused : {
           Refused{TableError(DType::kU4, indices, DType::kF16, Shape{1, 1, 1, 1, 64, 1}),
                   "tables of 64 entries; indices of U4 need 16"},
           Refused{TableError(DType::kU6, indices, DType::kF16, Shape{3, 1, 1, 1, 64, 1}),
                   "axis 0 of lut"},
           Refused{TableError(DType::kU4, indices, DType::kF16, Shape{1, 1, 16, 1}),
                   "two axes more"},
           Refused{TableError(DType::kU4, indices, DType::kF16, Shape{1, 1, 1, 1, 16, 2}),
                   "entries that are vectors"},
           Refused{TableError(DType::kI4, indices, DType::kF16, Shape{1, 1, 1, 1, 16, 1}),
                   "indices are I4"},
       }) {
    EXPECT_NE(refused.error.find(refused.expected), std::string::npos) << refused.error;
  }
}

// The type of the result is that of the scales: an fp32 weight does not fit an fp16 product.
TEST(ConstexprInference, GivesTheTypeOfTheScales) {
  const std::string error =
      ScaledError(DType::kI8, Shape{8, 64, 1, 1}, DType::kF32, Shape{8, 1, 1, 1});
  EXPECT_NE(error.find("x is F16 and weight is F32"), std::string::npos) << error;
}

TEST(ConstexprInference, RefusesStoredPartsThatAreComputed) {
  GraphBuilder builder("main");
  const Value x = builder.Input("x", DType::kF16, Shape{1, 64, 1, 4});
  const Value w = builder.BlockwiseShiftScale("w", Part(DType::kI8, Shape{8, 64, 1, 1}),
                                              Part(DType::kF16, Shape{8, 1, 1, 1}));
  builder.Output(builder.Conv("y", x, w, {}));
  Graph graph = *std::move(builder).Finish();
  for (const char* computed : {"x", "y", "w"}) {
    graph.operations.front().inputs[1].second = {computed};
    EXPECT_EQ(CheckGraph(graph).code(), StatusCode::kInvalidInput) << computed;
  }
}

// What is materialised counts as a weight, wherever one is asked for: a bias too.
TEST(ConstexprInference, ResultsMayBeBoundAsBiases) {
  GraphBuilder builder("main");
  const Value x = builder.Input("x", DType::kF16, Shape{1, 64, 1, 4});
  const Value w = builder.Weight("w", DType::kF16, Shape{8, 64, 1, 1}, Zeros());
  const Value bias =
      builder.BlockwiseShiftScale("b", Part(DType::kI8, Shape{8}), Part(DType::kF16, Shape{1}));
  builder.Output(builder.Conv("y", x, w, {1, bias}));
  const Result<Graph> graph = std::move(builder).Finish();
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_TRUE(CheckGraph(*graph).ok());
}

TEST(ConstexprInference, CountsStoredBytesAsWeights) {
  GraphBuilder builder("main");
  const Value x = builder.Input("x", DType::kF16, Shape{1, 64, 1, 4});
  const Value w = builder.BlockwiseShiftScale("w", Part(DType::kI4, Shape{8, 64, 1, 1}),
                                              Part(DType::kF16, Shape{8, 2, 1, 1}));
  builder.Output(builder.Conv("y", x, w, {}));
  EXPECT_EQ((*std::move(builder).Finish()).WeightBytes(), 8 * 64 / 2 + 8 * 2 * 2);
}

}  // namespace
}  // namespace npumoe
