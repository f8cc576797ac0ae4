// The self-test of `npumoe doctor --report`: one small program written, loaded, launched on a
// device and compared with plain loops.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "npu/device.h"
#include "npu/profile.h"

namespace npumoe::cli {

struct SelfTest {
  std::string device;
  Status status;  // ok: loaded, launched, and right
  DeviceInfo info;
  bool is_isolated = false;  // in a worker process
  // None: it did not come so far.
  std::optional<double> load_ms;       // measured
  std::optional<LaunchReport> launch;  // the second one
  std::optional<double> error;         // largest difference as a share of the largest output
  std::optional<ComputePlan> plan;
};

// Largest accepted SelfTest::error: fp16 keeps 2^-11 of each of the few values that follow one
// another in an expert; ten of these are 5e-3. What is wrong is off by far more.
inline constexpr double kSelfTestTolerance = 5e-3;

// Devices to test, of those that are listed as available: each target once.
std::vector<std::string> TestableDevices();

// One expert, 1024 x 2048, 32 rows: enough that a Neural Engine takes it. Real devices run in a
// worker process where one can be started, so that a crash is a result.
// `faults`: injected ones of the emulator (npu/device_registry.h).
SelfTest TestDevice(const std::string& name, const ChipProfile& profile, ThreadPool& pool,
                    const std::string& faults = "");

// The same on a device that is open; a launch may take `limit_ms`. What still runs then stays
// loaded for good.
void TestOpenDevice(Device& device, double limit_ms, SelfTest& test);

}  // namespace npumoe::cli
