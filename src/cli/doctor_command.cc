// npumoe doctor: what this machine offers: processors, memory, devices, chip profiles, cache.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/devices.h"
#include "cli/engine.h"
#include "cli/table.h"
#include "cli/version.h"
#include "kernels/targets.h"

namespace npumoe::cli {
namespace {

double MemoryBytes() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

struct CacheUse {
  int64_t packages = 0;
  double bytes = 0;
};

CacheUse MeasureCache(const std::filesystem::path& cache) {
  CacheUse use;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(cache, error)) {
    if (entry.path().extension() == ".mlpackage") ++use.packages;
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(cache, error)) {
    std::error_code size_error;
    if (const auto size = entry.file_size(size_error); !size_error) {
      use.bytes += static_cast<double>(size);
    }
  }
  return use;
}

void PrintJson(int threads, const CacheUse& cache) {
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  for (const DeviceListing& device : AllDevices()) {
    devices.push_back(
        {{"name", device.name}, {"available", device.available}, {"note", device.note}});
  }
  fmt::print("{}\n", nlohmann::ordered_json{{"version", kVersion},
                                            {"threads", threads},
                                            {"simd", KernelTargetName()},
                                            {"memory_bytes", MemoryBytes()},
                                            {"devices", devices},
                                            {"chips", ListChipProfiles(ChipFolders())},
                                            {"cache", DefaultCacheFolder().string()},
                                            {"cache_packages", cache.packages},
                                            {"cache_bytes", cache.bytes}}
                         .dump(2));
}

Status RunDoctor(bool json) {
  const int threads = ThreadPool().threads();
  const CacheUse cache = MeasureCache(DefaultCacheFolder());
  if (json) {
    PrintJson(threads, cache);
    return OkStatus();
  }
  fmt::print("npumoe {} ({}, {})\n", kVersion, kCompiler, kBuildType);
  fmt::print("processors  {} threads, kernels for {}\n", threads, KernelTargetName());
  fmt::print("memory      {}\n", FormatBytes(MemoryBytes()));
  fmt::print("cache       {}: {} packages, {}\n", DefaultCacheFolder().string(), cache.packages,
             FormatBytes(cache.bytes));
  std::string chips;
  for (const std::string& chip : ListChipProfiles(ChipFolders())) chips += " " + chip;
  fmt::print("chips      {}\n\n", chips.empty() ? " none found: set NPUMOE_CHIPS" : chips);
  fmt::print("{}\n", DeviceTable());
  return OkStatus();
}

}  // namespace

void AddDoctorCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand("doctor", "Show what this machine offers");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Machine-readable output");
  command->footer("Example:\n  npumoe doctor");
  command->callback([json, &selected] { selected = [json] { return RunDoctor(*json); }; });
}

}  // namespace npumoe::cli
