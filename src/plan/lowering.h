// Lowering: a planned program and its experts' weights -> the static graph that compile writes.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "graph/graph.h"
#include "model/weights.h"
#include "plan/plan.h"

namespace npumoe {

// The graphs of a program's package, "main" first, then the smaller buckets ascending. They share
// their weights, which are brought into the plan's format when the writer asks for them
// (WeightData::produce); one beyond the range of fp16 makes that fail with its name. Q8_0 and Q4_0
// keep their integers and scales in the format of the same blocks. Experts have biases where the
// model's do.
Result<std::vector<Graph>> LowerProgram(const Plan& plan, const LayerPlan& layer,
                                        const PlannedProgram& program,
                                        const std::vector<FfnWeights>& experts);

// Content address of a program's package: model, layer, experts, capacities, form, format
// version. Equal keys mean equal bytes.
std::string ProgramKey(const Plan& plan, const LayerPlan& layer, const PlannedProgram& program);

}  // namespace npumoe
