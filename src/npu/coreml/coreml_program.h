// Programs and buffers of the Core ML device, and what a device and its programs share.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/coreml/coreml_device.h"
#include "npu/coreml/program_loader.h"
#include "npu/coreml/request_table.h"
#include "npu/coreml/tensor_memory.h"
#include "npu/device.h"
#include "npu/package_cache.h"
#include "npu/package_limits.h"
#include "npu/profile.h"

namespace npumoe::coreml_device {

// Lives as long as the last of device, programs and requests.
struct Core {
  Core(const ChipProfile& p, const CoremlOptions& o, const CoremlParts& seams,
       const HostFacts& host, std::shared_ptr<CompiledCache> cache)
      : profile(p),
        options(o),
        parts(seams),
        facts(host),
        places(p),
        loader(o, seams, host, std::move(cache)),
        requests(p.limits.max_requests_in_flight) {}

  // How often a prediction runs that is submitted now: more than once after an idle time.
  int RunsNow();
  void MarkActive();
  // One of the places for programs that the profile has; free again when the answer goes.
  static Result<std::shared_ptr<const void>> TakePlace(const std::shared_ptr<Core>& core);

  const ChipProfile profile;
  const CoremlOptions options;
  const CoremlParts parts;
  const HostFacts facts;
  PackageCache packages;
  ProgramPlaces places;
  ProgramLoader loader;
  RequestTable requests;
  std::atomic<bool> lost{false};
  std::atomic<int64_t> opened{1};  // how often; programs of an earlier opening are lost

 private:
  std::mutex activity_mutex_;
  double last_activity_ms_ = 0;
};

std::string Describe(const TensorSpec& spec);

class CoremlBuffer final : public DeviceBuffer {
 public:
  explicit CoremlBuffer(std::shared_ptr<TensorMemory> memory) : memory_(std::move(memory)) {}
  std::span<std::byte> bytes() override { return memory_->bytes(); }
  const std::shared_ptr<TensorMemory>& memory() const { return memory_; }

 private:
  std::shared_ptr<TensorMemory> memory_;
};

class CoremlProgram final : public Program {
 public:
  struct Parts {
    LoadedFunction loaded;
    std::shared_ptr<const void> place;
    std::shared_ptr<const Mlpackage> package;  // not read again for its other functions
    std::vector<TensorSpec> inputs, outputs;
    int64_t weight_bytes = 0;
    double load_ms = 0;
  };
  CoremlProgram(std::shared_ptr<Core> core, Parts parts);

  const std::vector<TensorSpec>& inputs() const override { return parts_.inputs; }
  const std::vector<TensorSpec>& outputs() const override { return parts_.outputs; }
  int64_t weight_bytes() const override { return parts_.weight_bytes; }
  Result<std::unique_ptr<DeviceBuffer>> Allocate(const TensorSpec& spec) override;
  LaunchReport load_report() const override { return {.time_ms = parts_.load_ms}; }
  std::optional<ComputePlan> compute_plan() const override;

  const std::shared_ptr<Core>& core() const { return core_; }
  const std::shared_ptr<Model>& model() const { return parts_.loaded.model; }
  // What must live as long as a prediction runs: a program that is destroyed meanwhile counts
  // until then.
  std::shared_ptr<const void> Keeper() const;
  Status CheckNotLost() const;

 private:
  std::shared_ptr<Core> core_;
  Parts parts_;
  int64_t opened_;
};

}  // namespace npumoe::coreml_device
