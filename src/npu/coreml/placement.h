// Placement: where Core ML intends to run a function's operations, and whether that is good
// enough. Compute units are a permission, never a guarantee, and whole models run silently on the
// CPU (docs/design/failure-modes.md, 1 and 2).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/coreml/coreml_bridge.h"
#include "npu/device.h"

namespace npumoe::coreml_device {

const char* Name(ComputeUnit unit);  // "CPU", "GPU", "Neural Engine", "other"

// What the engine keeps of a compute plan.
struct Placement {
  struct Elsewhere {
    std::string name;       // of the operation
    std::string type;       // "conv": without the version before the dot
    std::string unit;       // Name(ComputeUnit)
    bool possible = false;  // the Neural Engine could run it
    bool operator==(const Elsewhere&) const = default;
  };
  int64_t operations = 0;            // that the plan places
  std::vector<Elsewhere> elsewhere;  // those not on the Neural Engine
  std::string unknown;               // why nothing is known; empty: it is

  bool operator==(const Placement&) const = default;
};

Placement PlacementOf(const std::vector<OperationUsage>& plan);

enum class CpuProducts { kRefused, kAllowed };

// kUnsupported when products (conv, matmul, linear) lie elsewhere and that is not allowed. What is
// unknown is not refused: the report says so.
Status CheckPlacement(const Placement& placement, CpuProducts cpu_products);

// For the placement report (device.h). None when nothing is known.
std::optional<ComputePlan> ReportOf(const Placement& placement);

}  // namespace npumoe::coreml_device
