// Programs and buffers of the emulator, and what a device and its programs share.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "npu/device.h"
#include "npu/emulator/emulator.h"
#include "npu/emulator/executable.h"
#include "npu/emulator/fault_injector.h"
#include "npu/emulator/launch_queue.h"
#include "npu/package_cache.h"
#include "npu/package_limits.h"
#include "npu/profile.h"

namespace npumoe::emulator {

bool SameLayout(const TensorSpec& a, const TensorSpec& b);
std::string Describe(const TensorSpec& spec);

class EmulatedBuffer final : public DeviceBuffer {
 public:
  explicit EmulatedBuffer(const TensorSpec& spec)
      : spec_(spec), own_(spec.bytes()), bytes_(own_.span()) {}
  EmulatedBuffer(const TensorSpec& spec, std::span<std::byte> memory)
      : spec_(spec), bytes_(memory) {}
  std::span<std::byte> bytes() override { return bytes_; }
  const TensorSpec& spec() const { return spec_; }

 private:
  TensorSpec spec_;
  AlignedBuffer<std::byte> own_;
  std::span<std::byte> bytes_;
};

// Lives as long as the last of device and programs.
struct Core {
  Core(const ChipProfile& p, ThreadPool& shared_pool, const EmulatorOptions& options)
      : profile(p),
        pool(shared_pool),
        load_timeout_ms(options.load_timeout_ms),
        faults(options.faults),
        places(p),
        queue(options.start, p.limits.max_requests_in_flight) {}

  const ChipProfile profile;
  ThreadPool& pool;
  const double load_timeout_ms;
  FaultInjector faults;
  AlignedBuffer<float> workspace;  // the worker's alone
  PackageCache packages;
  ProgramPlaces places;
  std::atomic<bool> lost{false};
  std::atomic<int64_t> opened{1};  // how often; programs of an earlier opening are lost
  LaunchQueue queue;               // last: its worker ends before the rest goes
};

// What Load knows about a program besides what it executes.
struct LoadedProgram {
  std::shared_ptr<const Executable> executable;
  std::string fault_name;            // what fault scripts match
  std::vector<FaultEffect> effects;  // those of the load, which hold for every launch
  LaunchReport load_report;
  int64_t operations = 0;
};

class EmulatedProgram final : public Program {
 public:
  // Takes one of the core's places for programs, which the caller has reserved.
  EmulatedProgram(std::shared_ptr<Core> core, LoadedProgram loaded);
  // Waiting requests are cancelled, a running one is finished first.
  ~EmulatedProgram() override;

  const std::vector<TensorSpec>& inputs() const override { return loaded_.executable->inputs(); }
  const std::vector<TensorSpec>& outputs() const override { return loaded_.executable->outputs(); }
  int64_t weight_bytes() const override { return loaded_.executable->weight_bytes(); }
  Result<std::unique_ptr<DeviceBuffer>> Allocate(const TensorSpec& spec) override;
  Result<std::unique_ptr<DeviceBuffer>> Wrap(const TensorSpec& spec,
                                             std::span<std::byte> memory) override;
  LaunchReport load_report() const override { return loaded_.load_report; }
  std::optional<ComputePlan> compute_plan() const override;

  const std::shared_ptr<Core>& core() const { return core_; }
  const LoadedProgram& loaded() const { return loaded_; }
  Status CheckNotLost() const;
  // The run of a launch whose buffers were checked.
  QueuedLaunch MakeLaunch(std::span<EmulatedBuffer* const> inputs,
                          std::span<EmulatedBuffer* const> outputs, std::span<const int> rows,
                          const std::vector<FaultEffect>& effects) const;

 private:
  Status CheckSpec(const TensorSpec& spec) const;

  std::shared_ptr<Core> core_;
  LoadedProgram loaded_;
  int64_t opened_;  // the opening of the device that this belongs to
};

}  // namespace npumoe::emulator
