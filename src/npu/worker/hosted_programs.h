// HostedPrograms: the device of a worker process, its programs by the engine's numbers, and the
// shared memory that launches read and write. One thread.
//
// An error of a function that returns a Result is a contradiction in what was sent, after which the
// worker ends; what the device says is part of the answer.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "npu/device.h"
#include "npu/worker/file_descriptor.h"
#include "npu/worker/messages.h"
#include "npu/worker/shared_memory.h"

namespace npumoe::worker {

class HostedPrograms {
 public:
  static Result<std::unique_ptr<HostedPrograms>> Open(const Configure& configure);

  DeviceInfo info() const { return device_->info(); }
  Status Map(const MapSegment& segment, const FileDescriptor& descriptor);
  Result<Loaded> Load(const worker::Load& load);
  Status Unload(const worker::Unload& unload);
  Status Supports(const worker::Supports& question);
  Result<Done> Launch(const LaunchCall& launch);

 private:
  // Buffers of the inputs or outputs; null where the device works on the engine's memory.
  using Side = std::vector<std::unique_ptr<DeviceBuffer>>;
  struct Hosted {
    std::unique_ptr<Program> program;
    Side own_inputs, own_outputs;  // after the program, so that they go before it
  };
  struct Bound {
    Side wrapped;
    std::vector<DeviceBuffer*> buffers;
  };
  HostedPrograms() = default;
  Status HandOver(std::vector<emulator::FaultEffect> faults);
  Result<std::span<std::byte>> Find(const BufferPlace& place, const TensorSpec& spec) const;
  static Status Bind(Program& program, const std::vector<TensorSpec>& specs,
                     std::span<const std::span<std::byte>> memory, Side& own, Bound& bound);
  Result<LaunchReport> Run(Hosted& hosted, const LaunchCall& launch,
                           std::span<const std::span<std::byte>> inputs,
                           std::span<const std::span<std::byte>> outputs);

  std::unique_ptr<ThreadPool> pool_;
  std::map<int64_t, std::unique_ptr<SharedSegment>> segments_;
  std::unique_ptr<Device> device_;
  std::map<int64_t, Hosted> programs_;  // before the device
};

}  // namespace npumoe::worker
