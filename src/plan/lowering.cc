#include "plan/lowering.h"

#include <utility>

#include "plan/lowered_weights.h"

namespace npumoe {
namespace {

Result<ExpertSlot> LowerExpert(const Plan& plan, const LayerPlan& layer,
                               const PlannedExpert& planned, const FfnWeights& weights,
                               Encoders* encoders) {
  const std::string what =
      "layer " + std::to_string(layer.layer) + ", expert " + std::to_string(planned.expert) + ", ";
  const int64_t intermediate = plan.IntermediateOf(planned.expert);
  const Shape inward{intermediate, plan.hidden_size};
  const Shape outward{plan.hidden_size, intermediate};
  ExpertSlot slot;
  slot.expert = planned.expert;
  slot.capacity = planned.capacity;
  NPUMOE_ASSIGN_OR_RETURN(
      slot.gate, LowerMatrix(plan.weight_format, weights.gate, inward, what + "gate", encoders));
  NPUMOE_ASSIGN_OR_RETURN(
      slot.up, LowerMatrix(plan.weight_format, weights.up, inward, what + "up", encoders));
  NPUMOE_ASSIGN_OR_RETURN(
      slot.down, LowerMatrix(plan.weight_format, weights.down, outward, what + "down", encoders));
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
                                        const std::vector<FfnWeights>& experts,
                                        Encoders* encoders) {
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
        LowerExpert(plan, layer, planned, experts[static_cast<size_t>(planned.expert)], encoders));
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

}  // namespace npumoe
