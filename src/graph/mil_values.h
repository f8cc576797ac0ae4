// Declarations and literal values of a Program message -> TensorSpec and Constant.
#pragma once

#include <string>

#include "base/status.h"
#include "coreml_min.pb.h"
#include "graph/graph.h"
#include "graph/weight_blob.h"

namespace npumoe {

// A tensor type with fixed axes; kUnsupported for anything else.
Result<TensorSpec> ReadDeclaration(const std::string& name,
                                   const coreml::ValueDeclaration& declaration);

// The value of a const operation, `weights` null when there is no weight file.
Result<Constant> ReadConstant(const std::string& name, const coreml::Value& value,
                              const WeightBlobFile* weights);

}  // namespace npumoe
