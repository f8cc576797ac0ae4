// Emulator: a Device that executes packages exactly as they are written, on the CPU, and answers
// with the time and energy that the profile's model gives for the launch. It refuses what the
// profile's chip refuses. What a package computes here is what it computes on the chip, up to the
// order of additions; how long it takes here means nothing.
#pragma once

#include <memory>

#include "base/status.h"
#include "base/thread_pool.h"
#include "npu/device.h"
#include "npu/profile.h"

namespace npumoe {

enum class EmulatorStart {
  kOnSubmit,  // the worker starts at once, as a device would: for tests of concurrency
  // Held back until somebody waits for it (or for a later request), so that CPU work measured
  // meanwhile is not disturbed by emulation on the same cores.
  kOnWait,
};

struct EmulatorOptions {
  EmulatorStart start = EmulatorStart::kOnWait;
};

// `pool` is shared with the rest of the engine and must outlive the device and its programs.
// Programs may outlive the device.
Result<std::unique_ptr<Device>> MakeEmulator(const ChipProfile& profile, ThreadPool& pool,
                                             const EmulatorOptions& options);

}  // namespace npumoe
