// Core ML device: the Neural Engine of a Mac. Platform headers stay inside this folder; elsewhere
// a stub says what is missing.
#pragma once

#include <memory>

#include "base/status.h"
#include "npu/device.h"
#include "npu/profile.h"

namespace npumoe {

// Ok, or why there is no such device in this build.
Status CoremlAvailability();
Result<std::unique_ptr<Device>> MakeCoremlDevice(const ChipProfile& profile);

}  // namespace npumoe
