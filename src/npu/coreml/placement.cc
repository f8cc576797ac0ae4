#include "npu/coreml/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace npumoe::coreml_device {
namespace {

constexpr std::array<std::string_view, 4> kProducts = {"conv", "matmul", "linear", "einsum"};

bool IsProduct(const Placement::Elsewhere& operation) {
  return std::find(kProducts.begin(), kProducts.end(), operation.type) != kProducts.end();
}

// "ios18.conv" -> "conv": plans qualify types with the version of the operation set.
std::string PlainType(const std::string& type) { return type.substr(type.rfind('.') + 1); }

std::string Describe(const Placement::Elsewhere& operation) {
  return fmt::format("{} '{}' on the {}{}", operation.type, operation.name, operation.unit,
                     operation.possible ? ", by choice" : "");
}

}  // namespace

const char* Name(ComputeUnit unit) {
  switch (unit) {
    case ComputeUnit::kCpu:
      return "CPU";
    case ComputeUnit::kGpu:
      return "GPU";
    case ComputeUnit::kNeuralEngine:
      return "Neural Engine";
    case ComputeUnit::kOther:
      return "other";
  }
  return "";
}

Placement PlacementOf(const std::vector<OperationUsage>& plan) {
  Placement placement;
  for (const OperationUsage& operation : plan) {
    if (!operation.preferred) continue;
    ++placement.operations;
    if (*operation.preferred == ComputeUnit::kNeuralEngine) continue;
    const auto& supported = operation.supported;
    const bool possible = std::find(supported.begin(), supported.end(),
                                    ComputeUnit::kNeuralEngine) != supported.end();
    placement.elsewhere.push_back(
        {operation.name, PlainType(operation.type), Name(*operation.preferred), possible});
  }
  if (placement.operations == 0) placement.unknown = "the compute plan places no operation";
  return placement;
}

Status CheckPlacement(const Placement& placement, CpuProducts cpu_products) {
  if (cpu_products == CpuProducts::kAllowed) return OkStatus();
  const auto& elsewhere = placement.elsewhere;
  const auto first = std::find_if(elsewhere.begin(), elsewhere.end(), IsProduct);
  if (first == elsewhere.end()) return OkStatus();
  const auto products = std::count_if(elsewhere.begin(), elsewhere.end(), IsProduct);
  const char* remedy =
      first->possible ? "plan larger groups or capacities (small products are kept on the CPU)"
                      : "plan another form or weight format (`npumoe verify --graph` lists limits)";
  return Unsupported(fmt::format(
      "placed-elsewhere: {} of {} operations are not on the Neural Engine, {} of them products, "
      "first {}; {}, or allow it with --device coreml:anywhere",
      elsewhere.size(), placement.operations, products, Describe(*first), remedy));
}

std::optional<ComputePlan> ReportOf(const Placement& placement) {
  if (!placement.unknown.empty()) return std::nullopt;
  ComputePlan report;
  report.operations = placement.operations;
  report.on_device = placement.operations - static_cast<int64_t>(placement.elsewhere.size());
  for (const Placement::Elsewhere& operation : placement.elsewhere) {
    report.elsewhere += (report.elsewhere.empty() ? "" : "; ") + Describe(operation);
  }
  return report;
}

}  // namespace npumoe::coreml_device
