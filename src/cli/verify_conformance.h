// npumoe verify --device D, without a model: every kind of program that plans are made of, on that
// device, against the reference kernels (runtime/conformance/conformance.h).
#pragma once

#include <string>

#include "base/status.h"
#include "cli/engine.h"

namespace npumoe::cli {

// Prints a table (or JSON): a line for each kind of program and class of shapes, a column for each
// weight format. kNumeric when something is wrong; with --require-npu also when the device says
// that it ran something elsewhere.
Status VerifyConformance(const EngineOptions& options, const std::string& chip, bool json);

}  // namespace npumoe::cli
