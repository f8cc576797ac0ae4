// What the emulator knows to execute: one function per operation (or family of them) that adds
// its steps. A type that is missing here is refused when the program is loaded.
#pragma once

#include <string_view>

#include "base/status.h"
#include "graph/arguments.h"
#include "graph/graph.h"
#include "npu/emulator/step_builder.h"

namespace npumoe::emulator {

using AddOperation = Status (*)(StepBuilder&, const Operation&, const Arguments&);

// Null when there is none.
AddOperation FindOperation(std::string_view type);

// operations_constexpr.cc
Status AddConstexpr(StepBuilder&, const Operation&, const Arguments&);
// operations_products.cc
Status AddConv(StepBuilder&, const Operation&, const Arguments&);
Status AddLinear(StepBuilder&, const Operation&, const Arguments&);
Status AddMatMul(StepBuilder&, const Operation&, const Arguments&);
// operations_elementwise.cc
Status AddUnary(StepBuilder&, const Operation&, const Arguments&);
Status AddBinary(StepBuilder&, const Operation&, const Arguments&);
// operations_layout.cc
Status AddReshape(StepBuilder&, const Operation&, const Arguments&);
Status AddTranspose(StepBuilder&, const Operation&, const Arguments&);
Status AddSlice(StepBuilder&, const Operation&, const Arguments&);
Status AddConcat(StepBuilder&, const Operation&, const Arguments&);
Status AddSplit(StepBuilder&, const Operation&, const Arguments&);
// operations_reduce.cc
Status AddSoftmax(StepBuilder&, const Operation&, const Arguments&);
Status AddReduce(StepBuilder&, const Operation&, const Arguments&);
Status AddLayerNorm(StepBuilder&, const Operation&, const Arguments&);

}  // namespace npumoe::emulator
