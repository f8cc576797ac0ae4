// Which element type a conversion gives each tensor. `show` asks the same function what a file's
// tensors should have been.
#pragma once

#include <cstdint>
#include <string>

#include "base/dtype.h"
#include "base/status.h"
#include "base/tensor_view.h"
#include "model/tensor_roles.h"

namespace npumoe {

enum class TypeRule : uint8_t {
  kLossless,  // matrices as they are, norms and biases in F32: other engines want them so
  kKeep,      // everything as it is
  kWanted,    // matrices in the wanted type; norms, biases and router in F32
};

// Whether blocks may be decoded and made into blocks of another type, which loses twice.
enum class Requantize : uint8_t { kRefuse, kAllow };

struct TypePolicy {
  TypeRule rule = TypeRule::kLossless;
  DType wanted = DType::kF32;  // with kWanted
  bool only_plain = false;     // the file cannot hold quantised types (safetensors)
  Requantize requantize = Requantize::kRefuse;
};

struct TypedTensor {
  TensorRole role;
  DType type;  // of the source
  Shape shape;
  bool may_be_mxfp4 = false;  // with only_plain: the folder's layout has blocks of this one type
};

enum class TypeCause : uint8_t {
  kAsAsked,    // the wanted type, or the rule wants none
  kRows,       // the wanted type's blocks do not divide the rows
  kCareful,    // embedding and head, where four bits were wanted
  kQuantised,  // MXFP4 stays: models are published in it
  kPlainFile,  // the file holds no blocks
};

struct TypeChoice {
  DType type = DType::kF32;
  TypeCause cause = TypeCause::kAsAsked;
  std::string why = {};  // "its rows of 40 are no whole number of Q4_K blocks"; empty for kAsAsked
};

// Fails where the rule would lose what nobody allowed: blocks made of blocks, or blocks widened
// where everything was to be kept. The message names no tensor.
Result<TypeChoice> TargetType(const TypePolicy& policy, const TypedTensor& tensor);

// The smallest plain type, or MXFP4, that holds all numbers of both: what is kept in one tensor
// has one type.
DType TypeHolding(DType a, DType b);

// Fails for an expert of another type than the first one of its layer, with which it shares a
// tensor. `name` starts the message.
Status CheckSameType(const std::string& name, int expert, DType type, DType first);

// Norms, biases, sinks, router and the shared expert's gate: small, and never quantised.
bool IsSmallRole(TensorRole role, const Shape& shape);

// Whether numbers of type `from` may change when they are stored as `to`.
bool IsLossy(DType from, DType to);

}  // namespace npumoe
