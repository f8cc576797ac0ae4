#include "cli/devices.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/table.h"

namespace npumoe::cli {

std::vector<DeviceListing> AllDevices() {
  std::vector<DeviceListing> devices = {
      {kCpuDevice, true, "", "no NPU: the CPU computes the plan's programs, too"}};
  for (DeviceListing& device : ListDevices()) devices.push_back(std::move(device));
  return devices;
}

nlohmann::ordered_json DescribeDevices() {
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  for (const DeviceListing& device : AllDevices()) {
    devices.push_back({{"name", device.name},
                       {"available", device.available},
                       {"version", device.version},
                       {"note", device.note}});
  }
  return devices;
}

std::string DeviceTable(const nlohmann::ordered_json& devices) {
  Table table({"device", "available", "version", "note"},
              {Align::kLeft, Align::kLeft, Align::kLeft, Align::kLeft});
  for (const auto& device : devices) {
    table.AddRow({device.at("name"), device.at("available") ? "yes" : "no", device.at("version"),
                  device.at("note")});
  }
  std::string text = table.ToString();
  text.pop_back();
  return text;
}

std::string DeviceTable() { return DeviceTable(DescribeDevices()); }

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
