#include "npu/openvino/openvino_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/log.h"
#include "npu/openvino/module_library.h"

namespace npumoe {
namespace {

using openvino::Module;
using openvino::Settings;
using openvino::Target;

// Loaded once: a library cannot be unloaded and loaded again.
const Result<const Module*>& LoadedModule() {
  static const Result<const Module*> module = openvino::LoadModule(openvino::DefaultSearch());
  return module;
}

// A number of the environment, or none.
Result<std::optional<int>> NumberOf(const char* variable, int smallest) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return std::optional<int>();
  const char* end = text + std::strlen(text);
  int value = 0;
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stop != end || value < smallest) {
    return UsageError(
        fmt::format("{}={}: a number of at least {} is needed", variable, text, smallest));
  }
  return std::optional<int>(value);
}

Result<std::string> FirstAvailable(const std::vector<Target>& targets) {
  std::string reasons;
  for (const Target& target : targets) {
    if (target.available) return target.name;
    reasons += fmt::format("; {}: {}", target.name, target.note);
  }
  return Unsupported("device 'openvino': no target is available" + reasons);
}

Result<std::string> ChooseTarget(const Module& module, const std::string& target) {
  if (!target.empty()) return target;
  NPUMOE_ASSIGN_OR_RETURN(const std::string chosen, FirstAvailable(module.targets()));
  LogInfo("device openvino: uses openvino:" + chosen);
  return chosen;
}

}  // namespace

std::vector<DeviceListing> OpenvinoListings() {
  const Result<const Module*>& module = LoadedModule();
  if (!module.ok()) return {{"openvino", false, "", module.status().message()}};
  const std::string version = (*module)->version();
  const std::vector<Target> targets = (*module)->targets();
  const Result<std::string> first = FirstAvailable(targets);
  std::vector<DeviceListing> listings = {
      {"openvino", first.ok(), version,
       first.ok() ? "uses openvino:" + *first : first.status().message()}};
  for (const Target& target : targets) {
    listings.push_back({"openvino:" + target.name, target.available, version, target.note});
  }
  return listings;
}

Result<std::unique_ptr<Device>> MakeOpenvinoDevice(const std::string& target,
                                                   const ChipProfile& profile, ThreadPool& pool,
                                                   const DeviceOptions& options) {
  const Result<const Module*>& module = LoadedModule();
  if (!module.ok()) return module.status().WithContext("device 'openvino'");
  NPUMOE_ASSIGN_OR_RETURN(const auto threads, NumberOf("NPUMOE_OPENVINO_THREADS", 1));
  NPUMOE_ASSIGN_OR_RETURN(const auto core, NumberOf("NPUMOE_OPENVINO_CORE", 0));
  Settings settings;
  NPUMOE_ASSIGN_OR_RETURN(settings.target, ChooseTarget(**module, target));
  if (!options.cache_dir.empty()) settings.cache_dir = options.cache_dir / "openvino";
  settings.threads = threads.value_or(pool.threads());
  settings.core = core.value_or(-1);
  settings.max_requests_in_flight = std::max<int64_t>(1, profile.limits.max_requests_in_flight);
  auto device = (*module)->make_device(settings);
  if (!device.ok()) {
    return device.status().WithContext(fmt::format("device 'openvino:{}'", settings.target));
  }
  return device;
}

}  // namespace npumoe
