// A chip profile (TOML). What parses gives finite costs for any launch.
#include <cmath>

#include "fuzz/fuzz.h"
#include "npu/profile.h"

namespace npumoe {
namespace {

void Read(std::string_view input) {
  const Result<ChipProfile> profile = ParseChipProfile(input, "input");
  if (!profile.ok()) {
    fuzz::Require(profile.status().message().find("input") == 0, "an error names the file");
    return;
  }
  fuzz::Require(!profile->origins.empty(), "every figure has an origin");
  for (const FigureOrigin& origin : profile->origins) {
    fuzz::Require(!origin.source.empty(), "the origin of " + origin.key + " is named");
  }
  for (const double rows : {0.0, 1.0, 100.0, 1e6}) {
    const LaunchWork work = {rows, 2 * rows * 1e6, 2e6};
    const LaunchCost cost = ModelLaunch(profile->npu, std::span(&work, 1), 1e6);
    fuzz::Require(std::isfinite(cost.total_ms()) && cost.total_ms() >= 0,
                  "a launch's time is finite");
    fuzz::Require(std::isfinite(cost.energy_j), "a launch's energy is finite");
    const double cpu = ModelCpuFfnMs(profile->cpu, rows, work.flops, work.weight_bytes);
    fuzz::Require(std::isfinite(cpu) && cpu >= 0, "an expert's time on the CPU is finite");
  }
  (void)LimitsOf(*profile);
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
