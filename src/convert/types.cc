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

}  // namespace

bool IsSmallRole(TensorRole role, const Shape& shape) {
  return shape.rank() == 1 || role == TensorRole::kRouter || role == TensorRole::kSharedGate;
}

DType TargetType(const TypePolicy& policy, TensorRole role, DType source, const Shape& shape,
                 std::string* why) {
  why->clear();
  if (policy.rule == TypeRule::kKeep) return source;
  if (policy.rule == TypeRule::kLossless) return shape.rank() == 1 ? DType::kF32 : source;
  if (IsSmallRole(role, shape)) return DType::kF32;
  if (!IsQuantized(policy.wanted)) return policy.wanted;
  if (IsQuantized(source)) {
    if (source != policy.wanted) *why = "is quantised already";
    return source;
  }
  // Four bits cost the answers more here than anywhere else, and the tensor is read once a token.
  const bool careful = IsVocabularyRole(role) && policy.wanted != DType::kQ8_0;
  const DType wanted = careful ? DType::kQ8_0 : policy.wanted;
  const int64_t row = shape[shape.rank() - 1];
  const DType used = Dividing(wanted, row);
  if (used != wanted) {
    *why = fmt::format("its rows of {} are no whole number of {} blocks", row, Name(wanted));
  }
  return used;
}

}  // namespace npumoe
