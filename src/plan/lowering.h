// Lowering: a planned program and the model's weights -> the static graphs that compile writes.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "graph/graph.h"
#include "model/config.h"
#include "model/weights.h"
#include "plan/lowered_weights.h"
#include "plan/plan.h"

namespace npumoe {

// The graphs of a program's package, "main" first: the largest function, then the smaller buckets,
// history lengths or row counts ascending (FunctionIndex). They share their weights, which are made
// when the writer asks for them (WeightData::produce); one beyond the range of fp16 makes that fail
// with its name. `encoders`: of the matrices that are rounded (lowered_weights.h).
Result<std::vector<Graph>> LowerPlanned(const Plan& plan, const ModelConfig& config,
                                        const ModelWeights& weights, const ProgramId& id,
                                        Encoders* encoders = nullptr);

// Where function `size` of a program with `sizes` of them, counted from the smallest, stands among
// the graphs above.
inline size_t FunctionIndex(size_t size, size_t sizes) { return size + 1 == sizes ? 0 : size + 1; }

// An expert program, in the plan's weight format. Q8_0 and Q4_0 keep their integers and scales in
// the format of the same blocks. Experts have biases where the model's do.
Result<std::vector<Graph>> LowerProgram(const Plan& plan, const LayerPlan& layer,
                                        const PlannedProgram& program,
                                        const std::vector<FfnWeights>& experts,
                                        Encoders* encoders = nullptr);

// Attention and head have a format of their own: they are a small part of the weights, and their
// rounding reaches every token.
Result<std::vector<Graph>> LowerAttention(const Plan& plan, const ModelConfig& config,
                                          const AttentionWeights& weights, int layer,
                                          Encoders* encoders = nullptr);
Result<std::vector<Graph>> LowerHead(const Plan& plan, const ModelConfig& config,
                                     const ModelWeights& weights, Encoders* encoders = nullptr);

// Content address of a program's package: model, layer, experts, capacities, form, format
// version, weight format. Equal keys mean equal bytes.
std::string ProgramKey(const Plan& plan, const ProgramId& id);
// The same of an expert program that need not be the plan's.
std::string ProgramKey(const Plan& plan, const LayerPlan& layer, const PlannedProgram& program);

}  // namespace npumoe
