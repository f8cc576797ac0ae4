// Emulator: a Device that executes packages exactly as they are written, on the CPU, and answers
// with the time and energy that the profile's model gives for the launch. It refuses what the
// profile's chip refuses, and fails as a fault script asks. What a package computes here is what it
// computes on the chip, up to the order of additions; how long it takes here means nothing.
#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "npu/device.h"
#include "npu/emulator/fault_script.h"
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
  std::vector<emulator::Fault> faults = {};
  double load_timeout_ms = 600e3;  // of a load that hangs or sleeps, by a fault
};

namespace emulator {

// In a worker process the faults are decided by the engine's process, which outlives restarts, and
// handed to the emulator one by one.
class FaultTarget {
 public:
  virtual ~FaultTarget() = default;
  // The next Load or Submit suffers these, besides what a script of its own says; where it is
  // refused for another reason, nobody does.
  virtual void InjectNext(std::vector<FaultEffect> effects) = 0;
};

}  // namespace emulator

// `pool` is shared with the rest of the engine and must outlive the device and its programs.
// Programs may outlive the device. The device is an emulator::FaultTarget, too.
Result<std::unique_ptr<Device>> MakeEmulator(const ChipProfile& profile, ThreadPool& pool,
                                             const EmulatorOptions& options);

}  // namespace npumoe
