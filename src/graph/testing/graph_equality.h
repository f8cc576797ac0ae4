// Whether two graphs are equal, weights byte by byte; the answer names the first difference.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace npumoe::testing {

inline bool Same(const TensorSpec& a, const TensorSpec& b) {
  return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape;
}

inline bool Same(const std::vector<TensorSpec>& a, const std::vector<TensorSpec>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const TensorSpec& x, const TensorSpec& y) { return Same(x, y); });
}

inline std::vector<std::byte> BytesOf(const TensorSpec& spec, const WeightData& weight) {
  std::vector<std::byte> bytes(spec.bytes());
  if (weight.view.empty()) {
    NPUMOE_CHECK(weight.produce(bytes).ok());
  } else {
    std::copy_n(weight.view.data, bytes.size(), bytes.data());
  }
  return bytes;
}

inline bool Same(const Constant& a, const Constant& b) {
  if (!Same(a.spec, b.spec) || a.value.index() != b.value.index()) return false;
  return std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        const T& other = std::get<T>(b.value);
        if constexpr (std::is_same_v<T, WeightData>) {
          return BytesOf(a.spec, value) == BytesOf(b.spec, other);
        } else {
          return value == other;
        }
      },
      a.value);
}

inline bool Same(const Operation& a, const Operation& b) {
  return a.type == b.type && a.name == b.name && a.inputs == b.inputs && Same(a.outputs, b.outputs);
}

// Empty when the graphs are equal.
inline std::string Difference(const Graph& a, const Graph& b) {
  if (a.name != b.name) return "function names";
  if (!Same(a.inputs, b.inputs)) return "inputs";
  if (a.outputs != b.outputs) return "outputs";
  if (a.constants.size() != b.constants.size()) return "number of constants";
  for (const auto& [name, constant] : a.constants) {
    const auto other = b.constants.find(name);
    if (other == b.constants.end() || !Same(constant, other->second)) return "constant " + name;
  }
  if (a.operations.size() != b.operations.size()) return "number of operations";
  for (size_t i = 0; i < a.operations.size(); ++i) {
    if (!Same(a.operations[i], b.operations[i])) return "operation " + a.operations[i].name;
  }
  return "";
}

}  // namespace npumoe::testing
