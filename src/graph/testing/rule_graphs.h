// Small graphs that lie on either side of one rule of the validator.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph/builder.h"
#include "graph/testing/sample_graphs.h"

namespace npumoe::testing {

using Value = GraphBuilder::Value;

inline Graph Finished(GraphBuilder builder) {
  Result<Graph> graph = std::move(builder).Finish();
  NPUMOE_CHECK(graph.ok());
  return *std::move(graph);
}

// y = f(x), one operation that `add` appends.
template <class Add>
Graph OneOperation(const Shape& x, const Add& add, DType dtype = DType::kF16) {
  GraphBuilder builder("main");
  builder.Output(add(builder, builder.Input("x", dtype, x)));
  return Finished(std::move(builder));
}

inline Graph SiluOf(const Shape& x, DType dtype = DType::kF16) {
  return OneOperation(
      x, [](GraphBuilder& b, const Value& v) { return b.Silu("y", v); }, dtype);
}

struct ConvSizes {
  Shape x, weight;
  int64_t groups = 1;
};

inline Graph ConvOf(const ConvSizes& sizes) {
  return OneOperation(sizes.x, [&](GraphBuilder& b, const Value& x) {
    const Value w = b.Weight("w", DType::kF16, sizes.weight, RandomHalves(1, 0.5f));
    return b.Conv("y", x, w, {.groups = sizes.groups, .bias = std::nullopt});
  });
}

// y = x * w, `w` a weight of the package.
inline Graph MatMulByWeight(const Shape& x, const Shape& w) {
  return OneOperation(x, [&](GraphBuilder& b, const Value& v) {
    const Value weight = b.Weight("w", DType::kF16, w, RandomHalves(1, 0.5f));
    return b.MatMul("y", v, Operand::kAsIs, weight, Operand::kAsIs);
  });
}

// y = x * other, both inputs.
inline Graph MatMulOf(const Shape& x, const Shape& other) {
  GraphBuilder builder("main");
  const Value a = builder.Input("x", DType::kF16, x);
  const Value b = builder.Input("other", DType::kF16, other);
  builder.Output(builder.MatMul("y", a, Operand::kAsIs, b, Operand::kAsIs));
  return Finished(std::move(builder));
}

using Bindings = std::vector<std::pair<std::string, std::vector<std::string>>>;

// The graph with an operation before all others that the builder does not have; its one result is
// called like the operation.
inline Graph WithFirst(Graph graph, const std::string& type, const Bindings& inputs,
                       const TensorSpec& output) {
  graph.operations.insert(graph.operations.begin(), Operation{type, output.name, inputs, {output}});
  return graph;
}

// SiluOf(x), whose silu became another operation.
inline Graph OperationOf(const std::string& type, const Shape& x) {
  Graph graph = SiluOf(x);
  graph.operations.front().type = type;
  return graph;
}

inline void AddInts(Graph& graph, const std::string& name, std::vector<int32_t> values) {
  const Shape shape{static_cast<int64_t>(values.size())};
  graph.constants[name] = {{name, DType::kI32, shape}, std::move(values)};
}

// The value bound to a parameter of the last operation becomes another one.
inline Graph Rebound(Graph graph, const std::string& parameter, const std::string& value) {
  for (auto& [name, values] : graph.operations.back().inputs) {
    if (name == parameter) values = {value};
  }
  return graph;
}

// The convolution with other strides. Right for inputs of one position only.
inline Graph WithStrides(Graph conv, std::vector<int32_t> strides) {
  AddInts(conv, "strides", std::move(strides));
  return Rebound(std::move(conv), "strides", "strides");
}

inline WeightData AllZero() {
  return {{}, [](std::span<std::byte> bytes) {
            std::fill(bytes.begin(), bytes.end(), std::byte{0});
            return OkStatus();
          }};
}

inline void AddWeight(Graph& graph, const std::string& name, DType dtype, const Shape& shape) {
  graph.constants[name] = {{name, dtype, shape}, AllZero()};
}

// The convolution with its weight "w" made by a constexpr operation.
inline Graph WithScaledWeight(Graph conv, const Shape& scale) {
  const TensorSpec weight = conv.constants.at("w").spec;
  conv.constants.erase("w");
  AddWeight(conv, "w_data", DType::kI8, weight.shape);
  AddWeight(conv, "w_scale", DType::kF16, scale);
  return WithFirst(std::move(conv), "constexpr_blockwise_shift_scale",
                   {{"data", {"w_data"}}, {"scale", {"w_scale"}}}, weight);
}

inline Graph WithTableWeight(Graph conv, DType indices, const Shape& table) {
  const TensorSpec weight = conv.constants.at("w").spec;
  conv.constants.erase("w");
  AddWeight(conv, "w_indices", indices, weight.shape);
  AddWeight(conv, "w_lut", DType::kF16, table);
  return WithFirst(std::move(conv), "constexpr_lut_to_dense",
                   {{"indices", {"w_indices"}}, {"lut", {"w_lut"}}}, weight);
}

}  // namespace npumoe::testing
