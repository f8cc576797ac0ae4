#include "plan/lowering.h"

#include <bit>
#include <utility>

#include "base/hash.h"
#include "plan/fp16_weights.h"

namespace npumoe {
namespace {

// Part of every program's key: rises whenever equal plans would give other bytes.
constexpr int64_t kProgramFormatVersion = 2;

// One matrix or bias of an expert: `shape` is what the plan makes of it.
Result<WeightData> LowerWeight(const TensorView& weights, const Shape& shape, std::string what) {
  if (weights.empty() || weights.shape != shape) {
    return InvalidInput(what + ": has shape " +
                        (weights.empty() ? "[]" : weights.shape.ToString()) +
                        ", the plan was made for " + shape.ToString() +
                        "; make a plan for this model with `npumoe plan`");
  }
  WeightData data;
  data.produce = [weights, what = std::move(what)](std::span<std::byte> bytes) {
    return WriteAsFp16(weights, what, bytes);
  };
  return data;
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
  NPUMOE_ASSIGN_OR_RETURN(slot.gate, LowerWeight(weights.gate, inward, what + "gate"));
  NPUMOE_ASSIGN_OR_RETURN(slot.up, LowerWeight(weights.up, inward, what + "up"));
  NPUMOE_ASSIGN_OR_RETURN(slot.down, LowerWeight(weights.down, outward, what + "down"));
  if (weights.gate_bias.empty()) return slot;
  const Shape inner{intermediate};
  const Shape outer{plan.hidden_size};
  NPUMOE_ASSIGN_OR_RETURN(slot.gate_bias,
                          LowerWeight(weights.gate_bias, inner, what + "gate bias"));
  NPUMOE_ASSIGN_OR_RETURN(slot.up_bias, LowerWeight(weights.up_bias, inner, what + "up bias"));
  NPUMOE_ASSIGN_OR_RETURN(slot.down_bias,
                          LowerWeight(weights.down_bias, outer, what + "down bias"));
  return slot;
}

}  // namespace

Result<Graph> LowerProgram(const Plan& plan, const LayerPlan& layer, const PlannedProgram& program,
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
  return BuildExpertGraph(
      program.form,
      {plan.hidden_size, plan.IntermediateOf(first), static_cast<float>(plan.activation_limit)},
      slots);
}

std::string ProgramKey(const Plan& plan, const LayerPlan& layer, const PlannedProgram& program) {
  Hasher hasher;
  hasher.Add(std::string_view("npumoe program")).Add(kProgramFormatVersion);
  hasher.Add(std::string_view(plan.model_hash));
  hasher.Add(int64_t{plan.hidden_size}).Add(int64_t{plan.expert_intermediate_size});
  hasher.Add(int64_t{plan.shared_intermediate_size});
  hasher.Add(std::bit_cast<int64_t>(plan.activation_limit));
  hasher.Add(int64_t{layer.layer}).Add(std::string_view(Name(program.form)));
  for (const PlannedExpert& expert : program.experts) {
    hasher.Add(int64_t{expert.expert}).Add(expert.capacity);
  }
  return hasher.Hex();
}

}  // namespace npumoe
