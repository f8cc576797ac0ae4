#include "plan/lowered_weights.h"

#include <utility>

#include "plan/fp16_weights.h"

namespace npumoe {
namespace {

// `shape` is what the plan makes of a matrix or bias.
Status CheckShape(const TensorView& weights, const Shape& shape, const std::string& what) {
  if (!weights.empty() && weights.shape == shape) return OkStatus();
  return InvalidInput(what + ": has shape " + (weights.empty() ? "[]" : weights.shape.ToString()) +
                      ", the plan was made for " + shape.ToString() +
                      "; make a plan for this model with `npumoe plan`");
}

}  // namespace

Result<WeightData> LowerVector(const TensorView& weights, const Shape& shape, std::string what) {
  NPUMOE_RETURN_IF_ERROR(CheckShape(weights, shape, what));
  WeightData data;
  data.identity = what;
  data.produce = [weights, what = std::move(what)](std::span<std::byte> bytes) {
    return WriteAsFp16(weights, what, bytes);
  };
  return data;
}

namespace {

bool HasBlocksOf(WeightFormat format, DType dtype) {
  return (format == WeightFormat::kInt8Block32 && dtype == DType::kQ8_0) ||
         (format == WeightFormat::kInt4Block32 && dtype == DType::kQ4_0);
}

}  // namespace

Result<WeightMatrix> LowerMatrix(WeightFormat format, const TensorView& weights, const Shape& shape,
                                 const std::string& what, Encoders* encoders) {
  if (format == WeightFormat::kF16) {
    NPUMOE_ASSIGN_OR_RETURN(WeightData fp16, LowerVector(weights, shape, what));
    return WeightMatrix(std::move(fp16));
  }
  NPUMOE_RETURN_IF_ERROR(CheckShape(weights, shape, what));
  if (HasBlocksOf(format, weights.dtype)) return TakeOverBlocks(weights, what);
  NPUMOE_ASSIGN_OR_RETURN(MatrixSource source, SourceOf(weights, what));
  NPUMOE_ASSIGN_OR_RETURN(const MatrixEncoder encoder,
                          MatrixEncoder::Create(format, std::move(source)));
  if (encoders != nullptr) encoders->push_back(encoder);
  return encoder.Matrix();
}

}  // namespace npumoe
