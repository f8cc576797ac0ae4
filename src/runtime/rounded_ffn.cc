#include "runtime/rounded_ffn.h"

#include <string>

#include "graph/weights/materialised.h"
#include "plan/lowering.h"

namespace npumoe {

Result<RoundedFfn> RoundedFfn::Of(const Plan& plan, const LayerPlan& layer, int expert,
                                  const std::vector<FfnWeights>& experts) {
  // A program of this expert alone; its capacity is of no interest.
  const PlannedProgram alone{GraphForm::kDenseChains, {{expert, 1}}};
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<Graph> functions,
                          LowerProgram(plan, layer, alone, experts));
  const Graph& graph = functions.front();
  const int64_t inner = plan.IntermediateOf(expert);
  RoundedFfn rounded;
  const auto read = [&](const char* name, const Shape& shape, Matrix& matrix) -> Status {
    matrix.shape = shape;
    NPUMOE_ASSIGN_OR_RETURN(matrix.fp16, HalvesOf(graph, name + ("_" + std::to_string(expert))));
    return OkStatus();
  };
  NPUMOE_RETURN_IF_ERROR(read("w_gate", Shape{inner, plan.hidden_size}, rounded.gate_));
  NPUMOE_RETURN_IF_ERROR(read("w_up", Shape{inner, plan.hidden_size}, rounded.up_));
  NPUMOE_RETURN_IF_ERROR(read("w_down", Shape{plan.hidden_size, inner}, rounded.down_));
  return rounded;
}

TensorView RoundedFfn::View(const Matrix& matrix) {
  return {DType::kF16, matrix.shape, reinterpret_cast<const std::byte*>(matrix.fp16.data())};
}

void RoundedFfn::ReplaceIn(SwiGluWeights& weights) const {
  weights.gate = View(gate_);
  weights.up = View(up_);
  weights.down = View(down_);
}

}  // namespace npumoe
