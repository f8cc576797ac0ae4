#include "npu/device_registry.h"

#include <fmt/format.h>

#include "npu/coreml/coreml_device.h"
#include "npu/emulator/emulator.h"

namespace npumoe {
namespace {

constexpr const char* kOpenvinoReason = "not built: this version has no OpenVINO device";

DeviceListing CoremlListing() {
  const Status status = CoremlAvailability();
  return {"coreml", status.ok(), "", status.ok() ? "Apple Neural Engine" : status.message()};
}

}  // namespace

std::vector<DeviceListing> ListDevices() {
  return {{"emulator", true, "", "emulated NPU of a chip profile (modelled time and energy)"},
          CoremlListing(),
          {"openvino", false, "", kOpenvinoReason}};
}

Result<std::unique_ptr<Device>> MakeDevice(const std::string& name, const ChipProfile& profile,
                                           ThreadPool& pool, const DeviceOptions& options) {
  if (options.workers != 0) return Unsupported("worker processes are not in this build");
  if (!options.faults.empty()) return Unsupported("fault injection is not in this build");
  if (name == "emulator") return MakeEmulator(profile, pool, {});
  if (name == "coreml") return MakeCoremlDevice(profile);
  if (name == "openvino") return Unsupported(fmt::format("device 'openvino': {}", kOpenvinoReason));
  std::string known;
  for (const DeviceListing& device : ListDevices()) known += ", " + device.name;
  return UsageError(fmt::format("device '{}' is not known; known: {}", name, known.substr(2)));
}

}  // namespace npumoe
