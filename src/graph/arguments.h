// Arguments: what one operation binds to its parameters, checked against the operation's schema,
// so that shape inference may ask for values without asking again whether they are there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "graph/graph.h"

namespace npumoe {

enum class ParameterKind {
  kTensor,          // one value, computed or constant
  kTensors,         // one or more of them (concat)
  kConstantTensor,  // a weight, a constant of numbers, or the result of a constexpr operation
  kStoredTensor,    // a weight or a constant of numbers, as the package holds it
  kInt,             // rank 0, int32, constant
  kInts,            // rank 1, int32, constant
  kFloat,           // rank 0, constant
  kFlag,            // rank 0, constant
  kFlags,           // rank 1, constant
  kText,
};

enum class Presence { kRequired, kOptional };

struct ParameterSchema {
  const char* name;
  ParameterKind kind;
  Presence presence;
};

// A value that operations may bind. `constant` is null when the value is computed.
struct KnownValue {
  TensorSpec spec;
  const Constant* constant = nullptr;
  bool materialised = false;  // result of a constexpr operation: does not depend on the inputs
};
using ValueTable = std::unordered_map<std::string, KnownValue>;

class Arguments {
 public:
  // Fails for a parameter that the schema does not know, a required one that is missing, a name
  // that is not in `values`, and a value of another kind. `operation`, `values` must outlive this.
  static Result<Arguments> Bind(const Operation& operation,
                                const std::vector<ParameterSchema>& schema,
                                const ValueTable& values);

  bool Has(std::string_view parameter) const;
  // These need a parameter that is present and of that kind (checked).
  const TensorSpec& Spec(std::string_view parameter) const;
  const Shape& ShapeOf(std::string_view parameter) const { return Spec(parameter).shape; }
  std::vector<const TensorSpec*> Specs(std::string_view parameter) const;
  std::vector<int64_t> Ints(std::string_view parameter) const;

  // A missing parameter gives the fallback.
  std::vector<int64_t> Ints(std::string_view parameter, std::vector<int64_t> fallback) const;
  int64_t Int(std::string_view parameter, int64_t fallback) const;
  bool Flag(std::string_view parameter, bool fallback) const;
  std::vector<bool> Flags(std::string_view parameter, size_t count) const;  // false when missing
  std::string Text(std::string_view parameter, const std::string& fallback) const;

  // kInvalidInput, "operation 'gate' (conv): " before the text.
  Status Error(const std::string& what) const;
  // The same as kUnsupported: legal MIL that this build does not do.
  Status NotSupported(const std::string& what) const;

 private:
  explicit Arguments(const Operation& operation) : operation_(&operation) {}
  Status BindParameter(const ParameterSchema& parameter, const ValueTable& values);
  const KnownValue* Find(std::string_view parameter) const;

  const Operation* operation_;
  std::vector<std::pair<std::string_view, std::vector<const KnownValue*>>> bound_;
};

}  // namespace npumoe
