#include "plan/lowered_attention.h"

#include <utility>
#include <vector>

#include "base/dtype.h"
#include "plan/fp16_weights.h"

namespace npumoe {
namespace {

// A vector that the model may lack: no bytes and no producer then.
Result<WeightData> LowerOptional(const TensorView& weights, const Shape& shape, std::string what) {
  if (weights.empty()) return WeightData{};
  return LowerVector(weights, shape, std::move(what));
}

// As the program will see them: rounded to fp16.
Result<std::vector<float>> SinksOf(const TensorView& sinks, const std::string& what) {
  if (sinks.empty()) return std::vector<float>();
  std::vector<uint16_t> fp16(static_cast<size_t>(sinks.shape.elements()));
  NPUMOE_RETURN_IF_ERROR(WriteAsFp16(sinks, what, std::as_writable_bytes(std::span(fp16))));
  std::vector<float> values;
  for (const uint16_t bits : fp16) values.push_back(F32FromF16(bits));
  return values;
}

int64_t NormChannels(const AttentionProgramShape& shape, int heads) {
  return shape.head_norm == HeadNorm::kPerHead ? shape.head_dim : heads * shape.head_dim;
}

}  // namespace

Result<WeightMatrix> DenseLowering::Matrix(const TensorView& weights, const Shape& shape,
                                           const std::string& name) const {
  return LowerMatrix(format, weights, shape, place + name, encoders);
}

TensorView RowsOf(const TensorView& matrix, int64_t first, int64_t rows) {
  const int64_t columns = matrix.shape[1];
  return {matrix.dtype, Shape{rows, columns}, matrix.data + BytesOf(matrix.dtype, first * columns)};
}

Result<AttentionProgramWeights> LowerAttentionWeights(const AttentionProgramShape& shape,
                                                      const AttentionWeights& weights,
                                                      const DenseLowering& lowering) {
  const std::string& place = lowering.place;
  const int64_t queries = shape.num_heads * shape.head_dim;
  const int64_t keys = shape.num_kv_heads * shape.head_dim;
  const int64_t values = shape.num_kv_heads * shape.value_dim;
  const int64_t attended = shape.num_heads * shape.value_dim;
  AttentionProgramWeights lowered;
  const auto projection = [&](const TensorView& matrix, const TensorView& bias, int64_t out,
                              int64_t in, const char* name, WeightMatrix& to,
                              WeightData& bias_to) -> Status {
    NPUMOE_ASSIGN_OR_RETURN(to, lowering.Matrix(matrix, Shape{out, in}, name));
    NPUMOE_ASSIGN_OR_RETURN(bias_to, LowerOptional(bias, Shape{out}, place + name + " bias"));
    return OkStatus();
  };
  NPUMOE_RETURN_IF_ERROR(projection(weights.q, weights.q_bias, queries, shape.hidden, "query",
                                    lowered.query, lowered.query_bias));
  NPUMOE_RETURN_IF_ERROR(projection(weights.k, weights.k_bias, keys, shape.hidden, "key",
                                    lowered.key, lowered.key_bias));
  NPUMOE_RETURN_IF_ERROR(projection(weights.v, weights.v_bias, values, shape.hidden, "value",
                                    lowered.value, lowered.value_bias));
  NPUMOE_RETURN_IF_ERROR(projection(weights.o, weights.o_bias, shape.hidden, attended, "output",
                                    lowered.output, lowered.output_bias));
  if (shape.head_norm != HeadNorm::kNone) {
    NPUMOE_ASSIGN_OR_RETURN(lowered.query_norm,
                            LowerVector(weights.q_norm, Shape{NormChannels(shape, shape.num_heads)},
                                        place + "query norm"));
    NPUMOE_ASSIGN_OR_RETURN(
        lowered.key_norm,
        LowerVector(weights.k_norm, Shape{NormChannels(shape, shape.num_kv_heads)},
                    place + "key norm"));
  }
  NPUMOE_ASSIGN_OR_RETURN(lowered.sinks, SinksOf(weights.sinks, place + "sinks"));
  return lowered;
}

namespace {

Status LowerQueries(const LatentProgramShape& shape, const AttentionWeights& weights,
                    const DenseLowering& lowering, LatentProgramWeights& lowered) {
  const int64_t queries = shape.num_heads * shape.key_dim();
  if (shape.query_rank == 0) {
    NPUMOE_ASSIGN_OR_RETURN(lowered.query,
                            lowering.Matrix(weights.q, Shape{queries, shape.hidden}, "query"));
    return OkStatus();
  }
  const LatentAttentionWeights& latent = weights.latent;
  NPUMOE_ASSIGN_OR_RETURN(
      lowered.query_down,
      lowering.Matrix(latent.q_a, Shape{shape.query_rank, shape.hidden}, "query down"));
  NPUMOE_ASSIGN_OR_RETURN(lowered.query_norm, LowerVector(latent.q_a_norm, Shape{shape.query_rank},
                                                          lowering.place + "query norm"));
  NPUMOE_ASSIGN_OR_RETURN(lowered.query,
                          lowering.Matrix(latent.q_b, Shape{queries, shape.query_rank}, "query"));
  return OkStatus();
}

// kv_b has the rows of one head after another.
Status LowerExpansion(const LatentProgramShape& shape, const TensorView& kv_b,
                      const DenseLowering& lowering, LatentProgramWeights& lowered) {
  const Shape whole{shape.num_heads * shape.expanded_dim(), shape.rank};
  if (!(kv_b.shape == whole)) {
    return InvalidInput(lowering.place + "expansion of latents: has shape " +
                        kv_b.shape.ToString() + ", the model's configuration says " +
                        whole.ToString());
  }
  for (int head = 0; head < shape.num_heads; ++head) {
    const TensorView rows = RowsOf(kv_b, head * shape.expanded_dim(), shape.expanded_dim());
    const std::string name = "expansion of head " + std::to_string(head);
    NPUMOE_ASSIGN_OR_RETURN(WeightMatrix matrix, lowering.Matrix(rows, rows.shape, name));
    lowered.expand.push_back(std::move(matrix));
  }
  return OkStatus();
}

}  // namespace

Result<LatentProgramWeights> LowerLatentWeights(const LatentProgramShape& shape,
                                                const AttentionWeights& weights,
                                                const DenseLowering& lowering) {
  LatentProgramWeights lowered;
  NPUMOE_RETURN_IF_ERROR(LowerQueries(shape, weights, lowering, lowered));
  NPUMOE_ASSIGN_OR_RETURN(
      lowered.latent,
      lowering.Matrix(weights.latent.kv_a, Shape{shape.latent_dim(), shape.hidden}, "latent"));
  NPUMOE_ASSIGN_OR_RETURN(
      lowered.latent_norm,
      LowerVector(weights.latent.kv_a_norm, Shape{shape.rank}, lowering.place + "latent norm"));
  NPUMOE_RETURN_IF_ERROR(LowerExpansion(shape, weights.latent.kv_b, lowering, lowered));
  const Shape outward{shape.hidden, shape.num_heads * shape.value_dim};
  NPUMOE_ASSIGN_OR_RETURN(lowered.output, lowering.Matrix(weights.o, outward, "output"));
  return lowered;
}

}  // namespace npumoe
