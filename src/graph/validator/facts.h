// GraphFacts: what the rules of the validator ask of a graph, looked up once. The graph may be any
// graph as data, also one that this build could not write or read; what is missing in it is absent
// from the facts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/graph.h"

namespace npumoe {

// A weight as the device uses it: a constant of the weight file, or the result of a constexpr
// operation over such constants.
struct WeightFacts {
  std::string name;
  int64_t elements = 0;
  int64_t bytes = 0;  // in the weight file, scales and tables included
};

// A convolution, linear layer or matrix product.
struct ProductFacts {
  const Operation* operation = nullptr;
  int64_t summed = 0;  // products in one sum
  double flops = 0;
};

struct ConvFacts {
  const Operation* operation = nullptr;
  Shape weight;                // [Cout, Cin / groups, ..]
  std::string_view weight_op;  // type of the constexpr operation that makes it; empty: none
  int64_t groups = 1;
  int64_t input_channels = 0;
  std::vector<int64_t> strides;
};

class GraphFacts {
 public:
  // `graph` must outlive this, unchanged.
  explicit GraphFacts(const Graph& graph);

  const Graph& graph() const { return graph_; }
  // Inputs and results of operations, except the weights that constexpr operations make.
  const std::vector<const TensorSpec*>& activations() const { return activations_; }
  const std::vector<WeightFacts>& weights() const { return weights_; }
  const std::vector<ProductFacts>& products() const { return products_; }
  const std::vector<ConvFacts>& convs() const { return convs_; }
  // All of them whose type is one of a list.
  std::vector<const Operation*> OfType(std::initializer_list<std::string_view> types) const;

  // Of the first value bound to a parameter: null when there is none, or it is not declared.
  const TensorSpec* SpecOf(const Operation& operation, std::string_view parameter) const;
  // Null as well when it is computed.
  const Constant* ConstantOf(const Operation& operation, std::string_view parameter) const;
  // Whether something is bound that depends on the inputs.
  bool IsComputed(const Operation& operation, std::string_view parameter) const;
  // The integers bound; empty when there are none.
  std::vector<int64_t> IntsOf(const Operation& operation, std::string_view parameter) const;
  bool FlagOf(const Operation& operation, std::string_view parameter) const;

 private:
  void AddWeights();
  void AddConv(const Operation& operation);
  void AddProduct(const Operation& operation, int64_t summed);

  const Graph& graph_;
  std::unordered_map<std::string_view, const TensorSpec*> declarations_;
  std::unordered_map<std::string_view, const Operation*> producers_;
  std::vector<const TensorSpec*> activations_;
  std::vector<WeightFacts> weights_;
  std::vector<ProductFacts> products_;
  std::vector<ConvFacts> convs_;
};

}  // namespace npumoe
