// Weight matrices in graphs: checked, put one after another, and declared as a weight or as the
// constexpr operation that makes one.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"
#include "graph/builder.h"
#include "graph/weight_format.h"

namespace npumoe {

// Neither bytes nor a producer.
bool IsAbsent(const WeightData& weight);

struct MatrixShape {
  int64_t out = 0;
  int64_t in = 0;
};

// Whether `weight` has, or can make, `elements` of the type.
Status CheckWeightData(const WeightData& weight, DType dtype, int64_t elements,
                       const std::string& what);
// kUnsupported where the format cannot take the shape.
Status CheckMatrix(const WeightMatrix& matrix, MatrixShape shape, const std::string& what);
// Whether matrices of this format and shape can stand one after another: each ends at a byte.
Status CheckStackable(WeightFormat format, MatrixShape shape, const std::string& what);

// The bytes of several weights of one size, one after another.
WeightData Stacked(std::span<const WeightData> parts);
// Of one format and shape, at least one.
WeightMatrix Stacked(std::span<const WeightMatrix> parts);

// `count` stacked matrices as the weight `name`: [count * out, in, 1, 1] for convolutions, or
// [count, out, in]. `shape` is that of one.
GraphBuilder::Value DeclareConvWeight(GraphBuilder& builder, const std::string& name,
                                      const WeightMatrix& matrix, MatrixShape shape, int64_t count);
GraphBuilder::Value DeclareBatchedWeight(GraphBuilder& builder, const std::string& name,
                                         const WeightMatrix& matrix, MatrixShape shape,
                                         int64_t count);

}  // namespace npumoe
