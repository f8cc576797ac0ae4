// Lowering: a planned program and its experts' weights -> the static graph that compile writes.
#pragma once

#include <functional>

#include "base/status.h"
#include "graph/graph.h"
#include "model/weights.h"
#include "plan/plan.h"

namespace npumoe {

// Weights are converted to fp16 when the writer asks for them (WeightData::produce); a weight
// beyond the range of fp16 makes that fail with its name. Experts have biases where the model's do.
Result<Graph> LowerProgram(const Plan& plan, const LayerPlan& layer, const PlannedProgram& program,
                           const std::vector<FfnWeights>& experts);

// Content address of a program's package: model, layer, experts, capacities, form, format
// version. Equal keys mean equal bytes.
std::string ProgramKey(const Plan& plan, const LayerPlan& layer, const PlannedProgram& program);

}  // namespace npumoe
