// The weights of a layer's attention as those of its program.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "graph/attention_program.h"
#include "graph/latent_attention_program.h"
#include "model/weights.h"
#include "plan/lowered_weights.h"

namespace npumoe {

// How a dense program's matrices are stored, who is told what rounding them costs (may be null),
// and how messages begin: "layer 3, attention, ".
struct DenseLowering {
  WeightFormat format = WeightFormat::kF16;
  Encoders* encoders = nullptr;
  std::string place;

  Result<WeightMatrix> Matrix(const TensorView& weights, const Shape& shape,
                              const std::string& name) const;
};

Result<AttentionProgramWeights> LowerAttentionWeights(const AttentionProgramShape& shape,
                                                      const AttentionWeights& weights,
                                                      const DenseLowering& lowering);
Result<LatentProgramWeights> LowerLatentWeights(const LatentProgramShape& shape,
                                                const AttentionWeights& weights,
                                                const DenseLowering& lowering);

// Rows [first, first + rows) of a matrix.
TensorView RowsOf(const TensorView& matrix, int64_t first, int64_t rows);

}  // namespace npumoe
