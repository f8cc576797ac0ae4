#include "npu/package_limits.h"

#include <fmt/format.h>

#include "graph/validator.h"

namespace npumoe {

Status CheckPackageFits(const Mlpackage& package, const Graph& function,
                        const ChipProfile& profile) {
  const NpuLimits& limits = profile.limits;
  if (function.WeightBytes() > limits.max_program_bytes) {
    return ResourceExhausted(fmt::format(
        "program-too-large: {} bytes of weights; profile {} allows {} in one program; plan "
        "smaller groups",
        function.WeightBytes(), profile.name, limits.max_program_bytes));
  }
  if (package.weight_file_bytes > limits.max_weight_file_bytes) {
    return ResourceExhausted(fmt::format("weight-file-too-large: {} bytes; profile {} allows {}",
                                         package.weight_file_bytes, profile.name,
                                         limits.max_weight_file_bytes));
  }
  const PackageFacts facts{static_cast<int64_t>(package.functions.size()),
                           package.weight_file_bytes};
  return RefusalOf(ValidateGraph(function, LimitsOf(profile), facts));
}

Status ProgramPlaces::Take() {
  int64_t taken = taken_.load();
  do {
    NPUMOE_RETURN_IF_ERROR(Check(taken));
  } while (!taken_.compare_exchange_weak(taken, taken + 1));
  return OkStatus();
}

Status ProgramPlaces::Check(int64_t taken) const {
  if (taken < max_programs_) return OkStatus();
  return ResourceExhausted(fmt::format(
      "too-many-programs: {} programs are loaded; profile {} allows {} in one process; unload "
      "one, or plan with larger groups",
      taken, profile_name_, max_programs_));
}

}  // namespace npumoe
