#include "plan/lowering.h"

#include <bit>
#include <utility>

#include "base/hash.h"
#include "graph/weights/matrix_encoder.h"
#include "plan/fp16_weights.h"

namespace npumoe {
namespace {

// Part of every program's key: rises whenever equal plans would give other bytes.
constexpr int64_t kProgramFormatVersion = 4;

// `shape` is what the plan makes of a matrix or bias.
Status CheckShape(const TensorView& weights, const Shape& shape, const std::string& what) {
  if (!weights.empty() && weights.shape == shape) return OkStatus();
  return InvalidInput(what + ": has shape " + (weights.empty() ? "[]" : weights.shape.ToString()) +
                      ", the plan was made for " + shape.ToString() +
                      "; make a plan for this model with `npumoe plan`");
}

Result<WeightData> LowerVector(const TensorView& weights, const Shape& shape, std::string what) {
  NPUMOE_RETURN_IF_ERROR(CheckShape(weights, shape, what));
  WeightData data;
  data.identity = what;
  data.produce = [weights, what = std::move(what)](std::span<std::byte> bytes) {
    return WriteAsFp16(weights, what, bytes);
  };
  return data;
}

bool HasBlocksOf(WeightFormat format, DType dtype) {
  return (format == WeightFormat::kInt8Block32 && dtype == DType::kQ8_0) ||
         (format == WeightFormat::kInt4Block32 && dtype == DType::kQ4_0);
}

Result<WeightMatrix> LowerMatrix(WeightFormat format, const TensorView& weights, const Shape& shape,
                                 const std::string& what) {
  if (format == WeightFormat::kF16) {
    NPUMOE_ASSIGN_OR_RETURN(WeightData fp16, LowerVector(weights, shape, what));
    return WeightMatrix(std::move(fp16));
  }
  NPUMOE_RETURN_IF_ERROR(CheckShape(weights, shape, what));
  if (HasBlocksOf(format, weights.dtype)) return TakeOverBlocks(weights, what);
  NPUMOE_ASSIGN_OR_RETURN(MatrixSource source, SourceOf(weights, what));
  NPUMOE_ASSIGN_OR_RETURN(const MatrixEncoder encoder,
                          MatrixEncoder::Create(format, std::move(source)));
  return encoder.Matrix();
}

Result<ExpertSlot> LowerExpert(const Plan& plan, const LayerPlan& layer,
                               const PlannedExpert& planned, const FfnWeights& weights) {
  const std::string what =
      "layer " + std::to_string(layer.layer) + ", expert " + std::to_string(planned.expert) + ", ";
  const int64_t intermediate = plan.IntermediateOf(planned.expert);
  const Shape inward{intermediate, plan.hidden_size};
  const Shape outward{plan.hidden_size, intermediate};
  ExpertSlot slot;
  slot.expert = planned.expert;
  slot.capacity = planned.capacity;
  NPUMOE_ASSIGN_OR_RETURN(slot.gate,
                          LowerMatrix(plan.weight_format, weights.gate, inward, what + "gate"));
  NPUMOE_ASSIGN_OR_RETURN(slot.up,
                          LowerMatrix(plan.weight_format, weights.up, inward, what + "up"));
  NPUMOE_ASSIGN_OR_RETURN(slot.down,
                          LowerMatrix(plan.weight_format, weights.down, outward, what + "down"));
  if (weights.gate_bias.empty()) return slot;
  const Shape inner{intermediate};
  const Shape outer{plan.hidden_size};
  NPUMOE_ASSIGN_OR_RETURN(slot.gate_bias,
                          LowerVector(weights.gate_bias, inner, what + "gate bias"));
  NPUMOE_ASSIGN_OR_RETURN(slot.up_bias, LowerVector(weights.up_bias, inner, what + "up bias"));
  NPUMOE_ASSIGN_OR_RETURN(slot.down_bias,
                          LowerVector(weights.down_bias, outer, what + "down bias"));
  return slot;
}

}  // namespace

Result<std::vector<Graph>> LowerProgram(const Plan& plan, const LayerPlan& layer,
                                        const PlannedProgram& program,
                                        const std::vector<FfnWeights>& experts) {
  std::vector<ExpertSlot> slots;
  for (const PlannedExpert& planned : program.experts) {
    if (planned.expert < 0 || static_cast<size_t>(planned.expert) >= experts.size()) {
      return InvalidInput("layer " + std::to_string(layer.layer) + ": the plan names expert " +
                          std::to_string(planned.expert) + ", the layer has " +
                          std::to_string(experts.size()) +
                          "; make a plan for this model with `npumoe plan`");
    }
    NPUMOE_ASSIGN_OR_RETURN(
        ExpertSlot slot,
        LowerExpert(plan, layer, planned, experts[static_cast<size_t>(planned.expert)]));
    slots.push_back(std::move(slot));
  }
  // One size for all: plans give the shared expert, which has another, a program of its own.
  const int first = program.experts.empty() ? 0 : program.experts.front().expert;
  const ExpertProgramShape shape{plan.hidden_size, plan.IntermediateOf(first),
                                 static_cast<float>(plan.activation_limit)};
  std::vector<Graph> functions;
  NPUMOE_ASSIGN_OR_RETURN(Graph whole, BuildExpertGraph(program.form, shape, slots));
  functions.push_back(std::move(whole));
  for (size_t bucket = 0; bucket < program.smaller_buckets.size(); ++bucket) {
    for (size_t i = 0; i < slots.size(); ++i)
      slots[i].capacity = program.smaller_buckets[bucket][i];
    NPUMOE_ASSIGN_OR_RETURN(Graph smaller, BuildExpertGraph(program.form, shape, slots,
                                                            "bucket_" + std::to_string(bucket)));
    functions.push_back(std::move(smaller));
  }
  return functions;
}

std::string ProgramKey(const Plan& plan, const LayerPlan& layer, const PlannedProgram& program) {
  Hasher hasher;
  hasher.Add(std::string_view("npumoe program")).Add(kProgramFormatVersion);
  hasher.Add(std::string_view(plan.model_hash));
  hasher.Add(int64_t{plan.hidden_size}).Add(int64_t{plan.expert_intermediate_size});
  hasher.Add(int64_t{plan.shared_intermediate_size});
  hasher.Add(std::bit_cast<int64_t>(plan.activation_limit));
  hasher.Add(int64_t{layer.layer}).Add(std::string_view(Name(program.form)));
  hasher.Add(std::string_view(Name(plan.weight_format)));
  // With their numbers: a bucket's capacities must not read as an expert.
  hasher.Add(static_cast<int64_t>(program.experts.size()));
  for (const PlannedExpert& expert : program.experts) {
    hasher.Add(int64_t{expert.expert}).Add(expert.capacity);
  }
  hasher.Add(static_cast<int64_t>(program.smaller_buckets.size()));
  for (const std::vector<int64_t>& bucket : program.smaller_buckets) {
    for (const int64_t capacity : bucket) hasher.Add(capacity);
  }
  return hasher.Hex();
}

}  // namespace npumoe
