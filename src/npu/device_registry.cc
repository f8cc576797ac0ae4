#include "npu/device_registry.h"

#include <fmt/format.h>

#include "npu/coreml/coreml_device.h"
#include "npu/emulator/emulator.h"
#include "npu/openvino/openvino_device.h"

namespace npumoe {
namespace {

// "openvino:CPU" -> "CPU"; "openvino" -> "".
std::string TargetOf(const std::string& name) {
  const size_t colon = name.find(':');
  return colon == std::string::npos ? "" : name.substr(colon + 1);
}

DeviceListing CoremlListing() {
  const Status status = CoremlAvailability();
  return {"coreml", status.ok(), "", status.ok() ? "Apple Neural Engine" : status.message()};
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
  if (options.workers != 0) return Unsupported("worker processes are not in this build");
  if (!options.faults.empty()) return Unsupported("fault injection is not in this build");
  if (name == "emulator") return MakeEmulator(profile, pool, {});
  if (name == "coreml") return MakeCoremlDevice(profile);
  if (name == "openvino" || name.starts_with("openvino:")) {
    return MakeOpenvinoDevice(TargetOf(name), profile, pool, options);
  }
  std::string known;
  for (const DeviceListing& device : ListDevices()) known += ", " + device.name;
  return UsageError(fmt::format("device '{}' is not known; known: {}", name, known.substr(2)));
}

}  // namespace npumoe
