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

// Where a device runs a program's operations, as it says itself (Core ML's compute plan). A program
// that was placed elsewhere without a word shows only here, and in its time.
struct ComputePlan {
  int64_t operations = 0;
  int64_t on_device = 0;
  std::string elsewhere;  // what runs elsewhere, and where; empty: nothing
};

// A loaded function of a package. Destroying it unloads it; no request may be in flight.
class Program {
 public:
  virtual ~Program() = default;
  virtual const std::vector<TensorSpec>& inputs() const = 0;
  virtual const std::vector<TensorSpec>& outputs() const = 0;
  virtual int64_t weight_bytes() const = 0;
  virtual Result<std::unique_ptr<DeviceBuffer>> Allocate(const TensorSpec& spec) = 0;
  // A buffer over `memory` of the caller, spec.bytes() long, 64-byte aligned, which must outlive
  // it: what is shared with another process is not copied. kUnsupported: allocate and copy.
  virtual Result<std::unique_ptr<DeviceBuffer>> Wrap(const TensorSpec& spec,
                                                     std::span<std::byte> memory);
  // What loading took, the device's compiler included; time 0: the device does not tell.
  virtual LaunchReport load_report() const { return {}; }
  // None: the device does not tell.
  virtual std::optional<ComputePlan> compute_plan() const { return std::nullopt; }
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

// What a device that isolates its programs went through since it was opened.
struct DeviceHealth {
  struct Event {
    std::string reason;
    int64_t count = 0;
  };
  int64_t restarts = 0;       // of worker processes
  int64_t replays = 0;        // launches and loads that were done again after a restart
  std::vector<Event> events;  // why, most frequent first
};

class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceInfo info() const = 0;
  virtual DeviceHealth health() const { return {}; }
  // After kDeviceLost: makes the device usable again. Programs of before stay lost and must be
  // loaded again. kDeviceLost: it is still gone, ask again later.
  virtual Status Reopen();
  // Whether Load of this function could succeed, without loading it: ok, or the reason.
  virtual Status Supports(const std::filesystem::path& package, const std::string& function) = 0;
  virtual Result<std::unique_ptr<Program>> Load(const std::filesystem::path& package,
                                                const std::string& function) = 0;
  virtual Result<RequestId> Submit(const LaunchRequest& request) = 0;
  // Blocks until the request is done or `timeout_ms` have passed. A finished request may be
  // waited for once.
  virtual Result<LaunchReport> Wait(RequestId request, double timeout_ms) = 0;
};

inline Result<std::unique_ptr<DeviceBuffer>> Program::Wrap(const TensorSpec& /*spec*/,
                                                           std::span<std::byte> /*memory*/) {
  return Unsupported("this device allocates its buffers itself");
}

inline Status Device::Reopen() { return Unsupported("this device cannot be opened again"); }

}  // namespace npumoe
