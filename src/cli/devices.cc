#include "cli/devices.h"

#include <fmt/format.h>

#include "cli/table.h"

namespace npumoe::cli {

std::vector<DeviceListing> AllDevices() {
  std::vector<DeviceListing> devices = {
      {kCpuDevice, true, "", "no NPU: the CPU computes the plan's programs, too"}};
  for (DeviceListing& device : ListDevices()) devices.push_back(std::move(device));
  return devices;
}

std::string DeviceTable() {
  Table table({"device", "available", "version", "note"},
              {Align::kLeft, Align::kLeft, Align::kLeft, Align::kLeft});
  for (const DeviceListing& device : AllDevices()) {
    table.AddRow({device.name, device.available ? "yes" : "no", device.version, device.note});
  }
  std::string text = table.ToString();
  text.pop_back();
  return text;
}

Status CheckDeviceName(const std::string& option, const std::string& name) {
  const std::string type = name.substr(0, name.find(':'));  // "openvino:CPU" is a part of one
  std::string known;
  for (const DeviceListing& device : AllDevices()) {
    if (device.name == name || device.name == type) return OkStatus();
    known += ", " + device.name;
  }
  return UsageError(
      fmt::format("{} {}: there is no such device; there are: {} (npumoe "
                  "--list-devices says which can be used)",
                  option, name, known.substr(2)));
}

}  // namespace npumoe::cli
