// Devices as the command line names them: those of npu/device_registry.h and the CPU, which needs
// no device.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "npu/device_registry.h"

namespace npumoe::cli {

inline constexpr const char* kCpuDevice = "cpu";

// The CPU first.
std::vector<DeviceListing> AllDevices();
// A table of name, availability, version and note; no line feed at the end.
std::string DeviceTable();
// A usage error that lists all devices where `name` is none of them.
Status CheckDeviceName(const std::string& option, const std::string& name);

}  // namespace npumoe::cli
