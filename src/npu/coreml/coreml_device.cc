#include "npu/coreml/coreml_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>
#include <utility>

#include "base/log.h"
#include "npu/coreml/coreml_program.h"
#include "npu/package_limits.h"

namespace npumoe {
namespace {

using coreml_device::CompiledCache;
using coreml_device::ComputeDevice;
using coreml_device::ComputeUnit;
using coreml_device::Core;
using coreml_device::CoremlBuffer;
using coreml_device::CoremlProgram;
using coreml_device::HostFacts;
using coreml_device::LoadJob;
using coreml_device::NamedMemory;

bool HasNeuralEngine(const HostFacts& facts) {
  return std::ranges::any_of(facts.devices, [](const ComputeDevice& device) {
    return device.unit == ComputeUnit::kNeuralEngine;
  });
}

Status AvailabilityOf(coreml_device::Bridge* bridge) {
  if (bridge == nullptr) {
    return Unsupported("needs macOS on Apple silicon; here the emulator runs the same packages");
  }
  if (HasNeuralEngine(bridge->Facts())) return OkStatus();
  return Unsupported(
      "Core ML offers no Neural Engine to this process (virtual machines have none, and background "
      "processes may be denied it); use the emulator");
}

struct CheckedPackage {
  std::shared_ptr<const Mlpackage> package;
  LoadJob job;
  int64_t weight_bytes = 0;
};

// Everything that can be said without Core ML.
Result<CheckedPackage> CheckPackage(const std::filesystem::path& path, const std::string& function,
                                    Core& core) {
  CheckedPackage checked;
  NPUMOE_ASSIGN_OR_RETURN(checked.package, core.packages.Get(path));
  const Mlpackage& package = *checked.package;
  NPUMOE_ASSIGN_OR_RETURN(const Graph* graph, package.Function(function));
  NPUMOE_RETURN_IF_ERROR(
      CheckPackageFits(package, *graph, core.profile)
          .WithContext(fmt::format("{}: function '{}'", path.string(), function)));
  checked.job = {path, function, package.functions.size() == 1, graph->inputs, {}};
  for (const std::string& name : graph->outputs) checked.job.outputs.push_back(*graph->Find(name));
  checked.weight_bytes = graph->WeightBytes();
  return checked;
}

Result<std::vector<NamedMemory>> CheckBuffers(std::span<DeviceBuffer* const> buffers,
                                              const std::vector<TensorSpec>& specs,
                                              const char* side) {
  if (buffers.size() != specs.size()) {
    return InvalidInput(fmt::format("the request has {} {} buffers; the program has {}",
                                    buffers.size(), side, specs.size()));
  }
  std::vector<NamedMemory> checked;
  for (size_t i = 0; i < buffers.size(); ++i) {
    auto* buffer = dynamic_cast<CoremlBuffer*>(buffers[i]);
    if (buffer == nullptr) {
      return InvalidInput(fmt::format("{} buffer {} was not allocated by this device", side, i));
    }
    const TensorSpec& has = buffer->memory()->spec();
    if (has.dtype != specs[i].dtype || has.shape != specs[i].shape) {
      return InvalidInput(fmt::format("{} buffer {} was allocated for {}; {} is needed", side, i,
                                      coreml_device::Describe(has),
                                      coreml_device::Describe(specs[i])));
    }
    checked.push_back({specs[i].name, buffer->memory()});
  }
  return checked;
}

// A prediction hands every buffer over once.
Status CheckDistinct(const std::vector<NamedMemory>& inputs,
                     const std::vector<NamedMemory>& outputs) {
  std::set<const coreml_device::TensorMemory*> seen;
  for (const auto* side : {&inputs, &outputs}) {
    for (const NamedMemory& named : *side) {
      if (!seen.insert(named.memory.get()).second) {
        return InvalidInput("a buffer is bound twice in one request");
      }
    }
  }
  return OkStatus();
}

class CoremlDevice final : public Device {
 public:
  explicit CoremlDevice(std::shared_ptr<Core> core) : core_(std::move(core)) {}

  DeviceInfo info() const override {
    const HostFacts& facts = core_->facts;
    return {.name = "coreml",
            .description =
                fmt::format("Neural Engine of {} through Core ML (measured time)", facts.chip),
            .version = fmt::format("macOS {} ({})", facts.os_version, facts.os_build)};
  }

  Status Supports(const std::filesystem::path& package, const std::string& function) override {
    NPUMOE_RETURN_IF_ERROR(core_->places.Check());
    NPUMOE_ASSIGN_OR_RETURN(const CheckedPackage checked, CheckPackage(package, function, *core_));
    return core_->loader.KnownRefusal(checked.job);
  }

  Result<std::unique_ptr<Program>> Load(const std::filesystem::path& package,
                                        const std::string& function) override {
    if (core_->lost) {
      return Status(StatusCode::kDeviceLost, "the device was lost and is not open again");
    }
    NPUMOE_ASSIGN_OR_RETURN(auto place, Core::TakePlace(core_));
    auto loaded = LoadInto(std::move(place), package, function);
    if (!loaded.ok()) NoteLoss(loaded.status(), *core_);
    return loaded;
  }

  Result<RequestId> Submit(const LaunchRequest& request) override {
    auto* program = dynamic_cast<CoremlProgram*>(request.program);
    if (program == nullptr || program->core() != core_) {
      return InvalidInput("the request's program was not loaded by this device");
    }
    NPUMOE_RETURN_IF_ERROR(program->CheckNotLost());
    coreml_device::PredictionWork work;
    NPUMOE_ASSIGN_OR_RETURN(work.inputs, CheckBuffers(request.inputs, program->inputs(), "input"));
    NPUMOE_ASSIGN_OR_RETURN(work.outputs,
                            CheckBuffers(request.outputs, program->outputs(), "output"));
    NPUMOE_RETURN_IF_ERROR(CheckDistinct(work.inputs, work.outputs));
    work.model = program->model();
    work.keeper = program->Keeper();
    work.runs = core_->RunsNow();
    NPUMOE_ASSIGN_OR_RETURN(const RequestId id, core_->requests.Add());
    coreml_device::StartPrediction(
        std::move(work), core_->parts.clock,
        [core = core_, id](const Status& status, coreml_device::PredictionTimes times) {
          core->MarkActive();
          NoteLoss(status, *core);
          core->requests.Finish(id, status, times);
        });
    return id;
  }

  Result<LaunchReport> Wait(RequestId request, double timeout_ms) override {
    return core_->requests.Wait(request, timeout_ms);
  }

  Status Reopen() override {
    const Status available = AvailabilityOf(core_->parts.bridge.get());
    if (!available.ok()) return {StatusCode::kDeviceLost, available.message()};
    if (core_->lost.exchange(false)) ++core_->opened;
    return OkStatus();
  }

 private:
  static void NoteLoss(const Status& status, Core& core) {
    if (status.code() == StatusCode::kDeviceLost) core.lost = true;
  }

  Result<std::unique_ptr<Program>> LoadInto(std::shared_ptr<const void> place,
                                            const std::filesystem::path& package,
                                            const std::string& function) {
    Clock& clock = *core_->parts.clock;
    const double begin_ms = clock.NowMs();
    NPUMOE_ASSIGN_OR_RETURN(CheckedPackage checked, CheckPackage(package, function, *core_));
    auto loaded = core_->loader.Load(checked.job);
    if (!loaded.ok()) {
      return loaded.status().WithContext(
          fmt::format("{}: function '{}'", package.string(), function));
    }
    if (!loaded->placement.unknown.empty()) {
      LogWarning(
          fmt::format("{}: function '{}': whether it runs on the Neural Engine is unknown: "
                      "{}",
                      package.string(), function, loaded->placement.unknown));
    }
    core_->MarkActive();
    CoremlProgram::Parts parts{.loaded = *std::move(loaded),
                               .place = std::move(place),
                               .package = std::move(checked.package),
                               .inputs = std::move(checked.job.inputs),
                               .outputs = std::move(checked.job.outputs),
                               .weight_bytes = checked.weight_bytes,
                               .load_ms = clock.NowMs() - begin_ms};
    return std::unique_ptr<Program>(std::make_unique<CoremlProgram>(core_, std::move(parts)));
  }

  std::shared_ptr<Core> core_;
};

}  // namespace

DeviceListing CoremlListing() {
  const auto bridge = coreml_device::MakeBridge();
  const Status status = AvailabilityOf(bridge.get());
  if (bridge == nullptr) return {"coreml", false, "", status.message()};
  const HostFacts facts = bridge->Facts();
  return {"coreml", status.ok(), fmt::format("macOS {} ({})", facts.os_version, facts.os_build),
          status.ok() ? fmt::format("Neural Engine of {}", facts.chip) : status.message()};
}

Result<std::unique_ptr<Device>> MakeCoremlDevice(const std::string& target,
                                                 const ChipProfile& profile,
                                                 const DeviceOptions& options) {
  CoremlOptions coreml;
  if (target == "anywhere") {
    coreml.cpu_products = coreml_device::CpuProducts::kAllowed;
  } else if (!target.empty()) {
    return UsageError(fmt::format(
        "device 'coreml:{}' is not known; known: coreml, coreml:anywhere (programs that are "
        "computed elsewhere are not refused)",
        target));
  }
  coreml.cache_dir = options.cache_dir;
  coreml.compile_limit_ms = coreml.load_limit_ms = options.load_timeout_ms;
  const auto pause = [](double ms) {
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(ms));
  };
  return MakeCoremlDevice(profile, coreml,
                          {coreml_device::MakeBridge(), std::make_shared<SteadyClock>(), pause});
}

Result<std::unique_ptr<Device>> MakeCoremlDevice(const ChipProfile& profile,
                                                 const CoremlOptions& options, CoremlParts parts) {
  NPUMOE_RETURN_IF_ERROR(AvailabilityOf(parts.bridge.get()).WithContext("device 'coreml'"));
  if (profile.limits.max_programs < 1 || profile.limits.max_requests_in_flight < 1) {
    return InvalidInput(
        fmt::format("profile '{}' has no room for programs or requests; load one of chips/*.toml",
                    profile.name));
  }
  const std::filesystem::path root =
      options.cache_dir.empty() ? options.cache_dir : options.cache_dir / "coreml";
  NPUMOE_ASSIGN_OR_RETURN(auto cache, CompiledCache::Open(root, options.max_cache_bytes));
  const HostFacts facts = parts.bridge->Facts();
  return std::unique_ptr<Device>(std::make_unique<CoremlDevice>(
      std::make_shared<Core>(profile, options, parts, facts, std::move(cache))));
}

}  // namespace npumoe
