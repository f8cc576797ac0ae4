#include "convert/types.h"

#include <fmt/format.h>

namespace npumoe {
namespace {

bool IsVocabularyRole(TensorRole role) {
  return role == TensorRole::kEmbedding || role == TensorRole::kLmHead;
}

// Q4_K falls back to Q4_0, which has as many bits and shorter blocks, and that to F16.
DType Dividing(DType wanted, int64_t row) {
  if (row % BlockElements(wanted) == 0) return wanted;
  if (wanted == DType::kQ4_K) return Dividing(DType::kQ4_0, row);
  return DType::kF16;
}

// The blocks that a matrix of plain numbers gets.
TypeChoice Blocks(DType asked, const TypedTensor& tensor) {
  // Four bits cost the answers more here than anywhere else, and the tensor is read once a token.
  const bool careful = IsVocabularyRole(tensor.role) && asked != DType::kQ8_0;
  const DType wanted = careful ? DType::kQ8_0 : asked;
  const int64_t row = tensor.shape[tensor.shape.rank() - 1];
  const DType used = Dividing(wanted, row);
  if (used != wanted) {
    return {used, TypeCause::kRows,
            fmt::format("its rows of {} are no whole number of {} blocks", row, Name(wanted))};
  }
  if (careful) {
    return {used, TypeCause::kCareful, "embedding and head are kept at 8 bits"};
  }
  return {used, TypeCause::kAsAsked, ""};
}

Result<TypeChoice> TargetInFolder(const TypePolicy& policy, const TypedTensor& tensor) {
  const bool small = IsSmallRole(tensor.role, tensor.shape);
  if (policy.rule == TypeRule::kWanted && !small) return TypeChoice{policy.wanted};
  const bool stays = tensor.type == DType::kMXFP4 && tensor.may_be_mxfp4;
  if (!IsQuantized(tensor.type) || stays) return TypeChoice{tensor.type};
  if (policy.rule == TypeRule::kKeep) {
    return InvalidInput(fmt::format(
        "is {}, which safetensors cannot hold, so --type keep is impossible; leave --type out "
        "(BF16), or name f32, f16 or bf16",
        Name(tensor.type)));
  }
  return TypeChoice{DType::kBF16, TypeCause::kPlainFile, "safetensors hold no blocks of this type"};
}

}  // namespace

bool IsSmallRole(TensorRole role, const Shape& shape) {
  return shape.rank() == 1 || role == TensorRole::kRouter || role == TensorRole::kSharedGate;
}

Result<TypeChoice> TargetType(const TypePolicy& policy, const TypedTensor& tensor) {
  if (policy.only_plain) return TargetInFolder(policy, tensor);
  if (policy.rule == TypeRule::kKeep) return TypeChoice{tensor.type};
  if (policy.rule == TypeRule::kLossless) {
    return TypeChoice{tensor.shape.rank() == 1 ? DType::kF32 : tensor.type};
  }
  if (IsSmallRole(tensor.role, tensor.shape)) return TypeChoice{DType::kF32};
  if (!IsQuantized(policy.wanted)) return TypeChoice{policy.wanted};
  const TypeChoice blocks = Blocks(policy.wanted, tensor);
  const bool again = IsQuantized(tensor.type) && tensor.type != blocks.type;
  if (!again || policy.requantize == Requantize::kAllow) return blocks;
  if (tensor.type == DType::kMXFP4) {
    return TypeChoice{tensor.type, TypeCause::kQuantised,
                      "it is MXFP4, in which models are published; --requantize converts it"};
  }
  return InvalidInput(fmt::format(
      "is quantised already ({}), and {} made of it would lose twice; convert the model that it "
      "was made from, add --requantize, or copy it as it is with --type keep",
      Name(tensor.type), Name(blocks.type)));
}

DType TypeHolding(DType a, DType b) {
  if (a == b) return a;
  // BF16 has the two bits of significand and all powers of two of MXFP4; F16 lacks the powers.
  const auto in_bf16 = [](DType type) { return type == DType::kBF16 || type == DType::kMXFP4; };
  return in_bf16(a) && in_bf16(b) ? DType::kBF16 : DType::kF32;
}

Status CheckSameType(const std::string& name, int expert, DType type, DType first) {
  if (type == first) return OkStatus();
  return Unsupported(fmt::format(
      "{}: expert {} is {}, the first one {}; all experts of a layer are written into one tensor, "
      "in one type",
      name, expert, Name(type), Name(first)));
}

bool IsLossy(DType from, DType to) {
  if (from == to || to == DType::kF32) return false;
  // Two bits of significand and a power of two: BF16 has both.
  return !(from == DType::kMXFP4 && to == DType::kBF16);
}

}  // namespace npumoe
