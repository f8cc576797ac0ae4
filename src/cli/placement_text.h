// What did not go as planned on the device, for people: degradations of programs, and what worker
// processes went through. One line each; empty when nothing happened.
#pragma once

#include <string>

#include "npu/device.h"
#include "runtime/placement_report.h"

namespace npumoe::cli {

// "workers  2 restarts, 3 launches and loads done again: ended with signal 6 (Aborted) (2 times)\n"
std::string HealthText(const DeviceHealth& health);

// "placed   elsewhere, layer 1, program 0: 0 of 5 operations on the device; ...\n", "loaded slowly,
// ...\n", "degraded ...\n" and HealthText.
std::string PlacementText(const PlacementReport& report);

}  // namespace npumoe::cli
