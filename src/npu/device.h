// Device: what the engine asks of an NPU. The emulator implements it here; Core ML and OpenVINO
// fit without change: programs are (package, function), the device allocates the buffers (shared
// memory, IOSurface), requests are asynchronous, waits have a deadline, failures are typed.
//
// Thread rules: every call may come from any thread. Buffers of a request in flight must not be
// touched until Wait has returned for it.
//
// Failures (StatusCode): kUnsupported = this graph is refused, for good; kResourceExhausted = too
// many programs or too large; kDeadlineExceeded = still running, may be waited for again;
// kDeviceLost = all programs of the device are gone; kNumeric; kInvalidInput = corrupt package or
// misuse. The message carries the reason that the placement report shows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/tensor_view.h"

namespace npumoe {

// Memory that the device allocated for one input or output. Row-major without gaps.
class DeviceBuffer {
 public:
  virtual ~DeviceBuffer() = default;
  virtual std::span<std::byte> bytes() = 0;
};

// How long and how much a launch took. `modelled` false: measured on a real device.
struct LaunchReport {
  double time_ms = 0;
  double energy_j = 0;
  bool modelled = false;
};

using RequestId = uint64_t;

// A loaded function of a package. Destroying it unloads it; no request may be in flight.
class Program {
 public:
  virtual ~Program() = default;
  virtual const std::vector<TensorSpec>& inputs() const = 0;
  virtual const std::vector<TensorSpec>& outputs() const = 0;
  virtual int64_t weight_bytes() const = 0;
  virtual Result<std::unique_ptr<DeviceBuffer>> Allocate(const TensorSpec& spec) = 0;
};

struct LaunchRequest {
  Program* program = nullptr;
  std::span<DeviceBuffer* const> inputs;   // in the order of Program::inputs
  std::span<DeviceBuffer* const> outputs;  // in the order of Program::outputs
  // Rows filled per input (<= the capacity), or empty: all. Reaches the cost model; a device whose
  // graphs are static computes all rows anyway.
  std::span<const int> rows;
};

struct DeviceInfo {
  std::string name;         // "emulator"
  std::string description;  // "emulated NPU, profile m2-max (modelled time and energy)"
  std::string version;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceInfo info() const = 0;
  // Whether Load of this function could succeed, without loading it: ok, or the reason.
  virtual Status Supports(const std::filesystem::path& package, const std::string& function) = 0;
  virtual Result<std::unique_ptr<Program>> Load(const std::filesystem::path& package,
                                                const std::string& function) = 0;
  virtual Result<RequestId> Submit(const LaunchRequest& request) = 0;
  // Blocks until the request is done or `timeout_ms` have passed. A finished request may be
  // waited for once.
  virtual Result<LaunchReport> Wait(RequestId request, double timeout_ms) = 0;
};

}  // namespace npumoe
