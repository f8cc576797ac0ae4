// Devices as the command line names them: those of npu/device_registry.h and the CPU, which needs
// no device.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/device_registry.h"

namespace npumoe::cli {

inline constexpr const char* kCpuDevice = "cpu";

// The CPU first.
std::vector<DeviceListing> AllDevices();
// A list of objects with name, available, version and note.
nlohmann::ordered_json DescribeDevices();
// The same as a table; no line feed at the end.
std::string DeviceTable(const nlohmann::ordered_json& devices);
std::string DeviceTable();
// A usage error that lists all devices where `name` is none of them.
Status CheckDeviceName(const std::string& option, const std::string& name);

}  // namespace npumoe::cli
