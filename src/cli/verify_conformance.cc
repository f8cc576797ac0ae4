#include "cli/verify_conformance.h"

#include <memory>
#include <utility>
#include <vector>

#include "base/temporary_folder.h"
#include "cli/conformance_report.h"
#include "cli/progress.h"
#include "npu/device_registry.h"
#include "runtime/conformance/conformance.h"

namespace npumoe::cli {

Status VerifyConformance(const EngineOptions& options, const std::string& chip, bool json) {
  NPUMOE_ASSIGN_OR_RETURN(const ChipProfile profile, LoadChipProfile(chip, ChipFolders()));
  NPUMOE_ASSIGN_OR_RETURN(
      const TemporaryFolder folder,
      TemporaryFolder::Create("npumoe-conformance", TemporaryFolder::Place::kMemory));
  DeviceOptions device_options = DeviceOptionsOf(options, profile);
  // What the device's compiler makes of these packages is of no use to anybody later.
  if (options.cache.empty()) device_options.cache_dir.clear();
  ThreadPool pool(options.threads);
  NPUMOE_ASSIGN_OR_RETURN(const auto device,
                          MakeDevice(DeviceOf(options), profile, pool, device_options));
  ConformanceReport report;
  report.chip = profile.name;
  report.device = device->info();
  Conformance conformance(*device, profile, folder.path(), LaunchTimeoutMs(options, profile));
  std::vector<ConformanceCase> cases = ConformanceCases(profile.limits.capacity_quantum);
  Progress progress("checking", "packages");
  for (ConformanceCase& tested : cases) {
    ConformanceVerdict verdict = conformance.Check(tested);
    report.rows.push_back({std::move(tested), std::move(verdict)});
    progress.Update(static_cast<int64_t>(report.rows.size()), static_cast<int64_t>(cases.size()));
  }
  report.health = device->health();
  Print(report, json);
  return report.Conclusion(options.require_npu);
}

}  // namespace npumoe::cli
