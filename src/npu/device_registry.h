// Devices by name: what --device takes and `npumoe doctor` lists. The CPU is not one of them: it
// is what the engine does by itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "npu/device.h"
#include "npu/profile.h"

namespace npumoe {

struct DeviceListing {
  std::string name;  // "emulator"
  bool available = false;
  std::string note;  // what it is, or why it is not available
};
std::vector<DeviceListing> ListDevices();

// `pool` must outlive the device and its programs. An unknown name lists the known ones
// (kUsage); a known one that this build lacks is kUnsupported with the reason.
Result<std::unique_ptr<Device>> MakeDevice(const std::string& name, const ChipProfile& profile,
                                           ThreadPool& pool);

}  // namespace npumoe
