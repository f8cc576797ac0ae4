// Core ML device: the Neural Engine of a Mac. Platform headers stay behind coreml_bridge.h; where
// there is no bridge the device says what is missing.
//
// A program is loaded from what Core ML's compiler made of its package (compiled_cache.h), looked
// at (placement.h: products that Core ML would compute elsewhere are refused), and run three times
// before anybody waits for it. docs/coreml.md describes a first run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "npu/coreml/coreml_bridge.h"
#include "npu/coreml/placement.h"
#include "npu/device.h"
#include "npu/device_registry.h"
#include "npu/profile.h"

namespace npumoe {

struct CoremlOptions {
  // Compiled models are kept in its folder "coreml". Empty: nothing is kept.
  std::filesystem::path cache_dir;
  int64_t max_cache_bytes = 100'000'000'000;  // chosen: a model of 30 B parameters in fp16 and more
  coreml_device::CpuProducts cpu_products = coreml_device::CpuProducts::kRefused;
  // Time limits. Compiling and the first load, which compiles for the chip, take seconds to minutes
  // (ane-facts, section 9); chosen several times that.
  double compile_limit_ms = 900e3;
  double load_limit_ms = 900e3;
  double first_run_limit_ms = 60e3;
  // ane-facts, section 9: a failed compile is worth another try after about 15 s; the first call
  // after more than 5 s idle takes 260 ms; three calls warm up.
  double retry_pause_ms = 15e3;
  double idle_ms = 5e3;
  int warm_up_runs = 3;
};

// What tests replace.
struct CoremlParts {
  std::shared_ptr<coreml_device::Bridge> bridge;
  std::shared_ptr<Clock> clock;
  std::function<void(double ms)> pause;
};

// Whether this build and machine have the device, or what is missing.
DeviceListing CoremlListing();

// `target`: empty, or "anywhere" to use programs whose products Core ML computes elsewhere, too.
// Programs and requests may outlive the device.
Result<std::unique_ptr<Device>> MakeCoremlDevice(const std::string& target,
                                                 const ChipProfile& profile,
                                                 const DeviceOptions& options);
Result<std::unique_ptr<Device>> MakeCoremlDevice(const ChipProfile& profile,
                                                 const CoremlOptions& options, CoremlParts parts);

}  // namespace npumoe
