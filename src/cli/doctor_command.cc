// npumoe doctor: what this machine offers: processors, memory, devices, chip profiles, cache.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/mapped_file.h"
#include "base/thread_pool.h"
#include "cli/cache_facts.h"
#include "cli/command.h"
#include "cli/devices.h"
#include "cli/doctor_report.h"
#include "cli/engine.h"
#include "cli/machine.h"
#include "cli/table.h"
#include "cli/version.h"
#include "kernels/targets.h"

namespace npumoe::cli {
namespace {

void PrintJson(int threads, const CacheFacts& cache) {
  fmt::print("{}\n", nlohmann::ordered_json{{"version", kVersion},
                                            {"threads", threads},
                                            {"simd", KernelTargetName()},
                                            {"memory_bytes", DescribeMachine().memory_bytes},
                                            {"devices", DescribeDevices()},
                                            {"chips", ListChipProfiles(ChipFolders())},
                                            {"cache", DefaultCacheFolder().string()},
                                            {"cache_packages", cache.packages},
                                            {"cache_bytes", cache.bytes}}
                         .dump(2));
}

Status RunDoctor(bool json) {
  const int threads = ThreadPool().threads();
  const CacheFacts cache = DescribeCache(DefaultCacheFolder());
  if (json) {
    PrintJson(threads, cache);
    return OkStatus();
  }
  fmt::print("npumoe {} ({}, {})\n", kVersion, kCompiler, kBuildType);
  fmt::print("processors  {} threads, kernels for {}\n", threads, KernelTargetName());
  fmt::print("memory      {}\n", FormatBytes(DescribeMachine().memory_bytes));
  fmt::print("cache       {}: {} packages, {}\n", DefaultCacheFolder().string(), cache.packages,
             FormatBytes(cache.bytes));
  std::string chips;
  for (const std::string& chip : ListChipProfiles(ChipFolders())) chips += " " + chip;
  fmt::print("chips      {}\n\n", chips.empty() ? " none found: set NPUMOE_CHIPS" : chips);
  fmt::print("{}\n", DeviceTable());
  return OkStatus();
}

struct DoctorOptions {
  bool json = false;
  bool report = false;
  std::string output;
};

Status WriteReport(const DoctorOptions& options) {
  const nlohmann::ordered_json report = MakeDoctorReport();
  const std::string text = options.json ? report.dump(2) + "\n" : DoctorReportText(report);
  if (!options.output.empty()) return WriteFileAtomically(options.output, text);
  fmt::print("{}", text);
  return OkStatus();
}

Status Run(const DoctorOptions& options) {
  if (options.report) return WriteReport(options);
  if (options.output.empty()) return RunDoctor(options.json);
  return UsageError("-o takes a report: add --report");
}

}  // namespace

void AddDoctorCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand("doctor", "Show what this machine offers");
  auto options = std::make_shared<DoctorOptions>();
  command->add_flag("--json", options->json, "Machine-readable output");
  command->add_flag("--report", options->report,
                    "What a maintainer needs to know of this machine, with a self-test of every "
                    "device; no names, no paths of your home folder");
  command->add_option("-o,--out", options->output, "File for the report (default: printed)");
  command->footer(
      "Example:\n  npumoe doctor\n  npumoe doctor --report -o report.txt    to send with an "
      "issue");
  command->callback([options, &selected] { selected = [options] { return Run(*options); }; });
}

}  // namespace npumoe::cli
