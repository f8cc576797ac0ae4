// Which element type `npumoe convert` gives each tensor.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/tensor_view.h"
#include "model/tensor_roles.h"

namespace npumoe {

enum class TypeRule {
  kLossless,  // matrices as they are, norms and biases in F32: other engines want them so
  kKeep,      // everything as it is
  kWanted,    // matrices in the wanted type; norms, biases and router in F32
};

struct TypePolicy {
  TypeRule rule = TypeRule::kLossless;
  DType wanted = DType::kF32;  // with kWanted
  bool only_plain = false;     // the file cannot hold quantised types (safetensors)
};

// A tensor that did not get the wanted type.
struct TypeFallback {
  std::string tensor;
  DType wanted;
  DType used;
  std::string reason;
};

// The type of a tensor of this role whose rows have `row_elements` and which is `source` now.
// Where it is not the wanted one and the rule wanted one, `why` says so.
DType TargetType(const TypePolicy& policy, TensorRole role, DType source, const Shape& shape,
                 std::string* why);

// Norms, biases, sinks, router and the shared expert's gate: small, and never quantised.
bool IsSmallRole(TensorRole role, const Shape& shape);

}  // namespace npumoe
