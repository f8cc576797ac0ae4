#include "npu/device_registry.h"

#include <fmt/format.h>

#include "npu/coreml/coreml_device.h"
#include "npu/emulator/emulator.h"
#include "npu/openvino/openvino_device.h"
#include "npu/worker/worker_device.h"

namespace npumoe {
namespace {

// "openvino:CPU" -> "CPU"; "openvino" -> "".
std::string TargetOf(const std::string& name) {
  const size_t colon = name.find(':');
  return colon == std::string::npos ? "" : name.substr(colon + 1);
}

Result<std::unique_ptr<Device>> MakeWorkers(const std::string& name, const ChipProfile& profile,
                                            const ThreadPool& pool, const DeviceOptions& options) {
  WorkerDeviceOptions workers;
  workers.device = name;
  // Emulation must not disturb what is measured; a device of its own starts at once.
  workers.start = name == "emulator" ? LaunchStart::kOnWait : LaunchStart::kOnSubmit;
  workers.workers = options.workers;
  workers.threads = options.worker_threads > 0 ? options.worker_threads : pool.threads();
  workers.program = options.worker_program;
  workers.cache_dir = options.cache_dir;
  workers.faults = options.faults;
  workers.launch_deadline_ms = options.launch_deadline_ms;
  workers.load_timeout_ms = options.load_timeout_ms;
  return MakeWorkerDevice(profile, workers);
}

}  // namespace

std::vector<DeviceListing> ListDevices() {
  std::vector<DeviceListing> devices = {
      {"emulator", true, "", "emulated NPU of a chip profile (modelled time and energy)"},
      CoremlListing()};
  for (DeviceListing& listing : OpenvinoListings()) devices.push_back(std::move(listing));
  return devices;
}

Result<std::unique_ptr<Device>> MakeDevice(const std::string& name, const ChipProfile& profile,
                                           ThreadPool& pool, const DeviceOptions& options) {
  if (options.workers != 0) return MakeWorkers(name, profile, pool, options);
  if (name == "emulator") {
    EmulatorOptions emulator;
    NPUMOE_ASSIGN_OR_RETURN(emulator.faults, emulator::ParseFaultScript(options.faults));
    emulator.load_timeout_ms = options.load_timeout_ms;
    return MakeEmulator(profile, pool, emulator);
  }
  if (!options.faults.empty()) {
    return UsageError(
        fmt::format("device '{}' has no faults to inject: only the emulator has", name));
  }
  if (name == "coreml" || name.starts_with("coreml:")) {
    return MakeCoremlDevice(TargetOf(name), profile, options);
  }
  if (name == "openvino" || name.starts_with("openvino:")) {
    return MakeOpenvinoDevice(TargetOf(name), profile, pool, options);
  }
  std::string known;
  for (const DeviceListing& device : ListDevices()) known += ", " + device.name;
  return UsageError(fmt::format("device '{}' is not known; known: {}", name, known.substr(2)));
}

}  // namespace npumoe
