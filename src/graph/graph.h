// Graph: one static function as data. Every shape is fixed, every value is assigned once,
// operations stand in the order of dependence. Names and meaning of operations are those of
// Core ML's MIL (docs: coreml-format), so that the package writer adds nothing and the reader
// loses nothing.
//
// Built by GraphBuilder (shape inference), checked by validator.h, stored by mlpackage.h,
// executed by npu/.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "base/tensor_view.h"

namespace npumoe {

// A weight. Either `view` has its bytes (a package that was read: mapped), or `produce` makes
// them when the writer asks, so that writing a program needs memory for one tensor only.
struct WeightData {
  TensorView view;
  // Fills `bytes` (spec.bytes() long). May be called more than once; must be deterministic.
  std::function<Status(std::span<std::byte> bytes)> produce;
  // Equal texts: equal bytes, among all functions of a package; the writer asks only the first of
  // them. Empty: unknown.
  std::string identity = {};
};

// Integers, floats, flags and text are parameters of operations, stored inside the program; a
// weight goes to the weight file.
using ConstantValue = std::variant<std::vector<int32_t>, std::vector<float>, std::vector<bool>,
                                   std::string, WeightData>;

struct Constant {
  TensorSpec spec;  // rank 0 for scalars; dtype kF16/kF32 for floats, unused for text
  ConstantValue value;
};

struct Operation {
  std::string type;  // "conv", "silu", "mul", "slice_by_index", "concat", ...
  std::string name;  // unique in the graph
  // Parameter name -> the values or constants bound to it (several for concat's `values`).
  std::vector<std::pair<std::string, std::vector<std::string>>> inputs;
  std::vector<TensorSpec> outputs;

  // What is bound to `parameter`; null when it was left out.
  const std::vector<std::string>* Bound(std::string_view parameter) const;
};

// Operations "constexpr_...": weights in a compressed form, which stand in the package as they are
// bound to them, and whose result the device makes when it loads the program or while it streams.
// Their results may be bound wherever a weight may.
bool IsConstexpr(const Operation& operation);

struct Graph {
  std::string name = "main";  // the function's name in its package
  std::vector<TensorSpec> inputs;
  std::map<std::string, Constant> constants;
  std::vector<Operation> operations;
  std::vector<std::string> outputs;  // names of operations' outputs

  // The declaration of an input, constant or operation output; null when there is none. Looks
  // through the whole graph.
  const TensorSpec* Find(const std::string& value) const;
  int64_t WeightBytes() const;  // of all weight constants, as they are stored
};

// Every value's declaration by name, for callers that ask often. Valid while the graph lives
// unchanged.
std::unordered_map<std::string_view, const TensorSpec*> DeclarationsOf(const Graph& graph);

}  // namespace npumoe
